"""Reconciles Sources: asks remotes, fetches, reports. Syncs ask it for commits, and it wakes them when there is an answer."""
