"""The steps of a run over a Sync, and what they are made of: each takes values and returns how far it came."""
