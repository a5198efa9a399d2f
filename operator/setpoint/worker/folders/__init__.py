"""The folders that readers write in, and what builds leave there."""
