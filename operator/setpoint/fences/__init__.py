"""Starts child processes that handle what tenants wrote, and takes from them all that they do not need (Landlock, seccomp). It knows neither
Git nor manifests, and uses the standard library alone, so that a child which needs no more starts fast.
"""
