"""Kustomize: which files a kustomization reads, the overlay of a Sync, and explanations of errors."""
