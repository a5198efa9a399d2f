"""Kubernetes objects as data: identity, kinds, managedFields, JSON Patch, the inventory, and YAML as kubectl reads it. Pure: requests for
objects are in `kube`.
"""
