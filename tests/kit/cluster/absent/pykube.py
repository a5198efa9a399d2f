"""Stands before the library of this name, which pytest-kind brings: kopf imports it wherever it is found, which takes a
fifth of an operator's start. Where the operator is deployed it is not there.
"""

raise ImportError("not for the operator, which must run without what the tests bring")
