"""Faults of everything around the operator: what is told meanwhile, and that the end is right."""
