"""Kubernetes objects as data: identity, kinds and their discovery, managedFields, JSON Patch, the inventory, and YAML as kubectl reads it.
Pure: whoever asks a server for them is `kube`.
"""
