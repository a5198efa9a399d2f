"""Generates CRDs, chart and reference pages from the models and tables. It never runs in the operator."""
