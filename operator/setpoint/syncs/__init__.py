"""Reconciles Syncs: gather, decide, act, report. `reconciler` tells the whole story, and the other modules are its chapters."""
