"""Builds what a Sync or Source reports: conditions, messages, differences, history, Events. A previous status and an outcome in, the next
status out. Pure.
"""
