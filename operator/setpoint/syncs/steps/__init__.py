"""The steps of a run of a Sync. Each takes values, and returns how far it came."""
