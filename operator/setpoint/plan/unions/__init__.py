"""One member of a union replaced by another, where the old one is a default or was adopted: what takes it away."""
