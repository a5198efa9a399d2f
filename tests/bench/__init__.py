"""Measures the operator against the budgets of its design; `python -m tests.bench --help`."""
