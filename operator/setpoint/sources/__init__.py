"""Reconciles Sources: asks remotes, fetches, reports. What Syncs want of a Source goes through `sources.demand`."""
