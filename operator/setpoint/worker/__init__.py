"""Answers what the operator asks over the seam (`wall`): has commits fetched, compared, gathered and rendered by child processes. What
tenants wrote is read in `worker.reader`, with `git.contents`, `tree` and `render`, and nothing here reaches an API server.
"""
