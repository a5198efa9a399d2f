"""Decides: desired objects, what differs, whose an object is, in which order, what is pruned and what is drift. Pure: no clock, no
system, no network; a bug here is shown by a table of inputs first.
"""
