"""Observes live objects: one list and watch for each kind, and for the pods of unhealthy workloads. It keeps the facts that
`objects.observed` extracts, never an object's content.
"""
