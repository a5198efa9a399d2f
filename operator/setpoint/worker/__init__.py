"""Answers what the operator asks over the seam (`wall`): fetches, compares, gathers, renders. It is the only package that touches what
tenants wrote, together with `git`, `tree` and `render`, and reaches no API server.
"""
