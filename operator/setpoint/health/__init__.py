"""Evaluates the health of an object from its own content: kstatus's order, a table by kind, then generic rules. One object in, one
`Verdict` out. Pure.
"""
