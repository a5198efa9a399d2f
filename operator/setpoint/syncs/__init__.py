"""Reconciles Syncs: gather, decide, act, report. `reconciler` is the story, the other modules are its chapters."""
