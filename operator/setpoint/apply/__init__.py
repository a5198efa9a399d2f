"""Writes and deletes objects on behalf of one Sync: dry runs, server-side apply stage by stage, deletion step by step. It makes no
decision that `plan` could make.
"""
