"""Builds all parts once, in order, and closes them in order. It turns kopf's events into keys in queues, and is the only importer of
kopf. It decides nothing.
"""
