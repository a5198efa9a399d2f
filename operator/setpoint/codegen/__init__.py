"""Writes CRDs, chart and reference pages from the models and tables. Never runs in the operator."""
