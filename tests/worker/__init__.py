"""The worker: its processes, and what they may take of the machine, with real processes."""
