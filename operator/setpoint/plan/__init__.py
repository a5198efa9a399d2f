"""Makes the decisions: desired objects, differences, ownership, order, pruning and drift. Pure: no clock, no system, no network. A bug here
is shown by a table of inputs first.
"""
