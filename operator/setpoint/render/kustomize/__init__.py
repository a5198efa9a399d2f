"""What a kustomization reads, the overlay of a Sync, and kustomize's errors in words."""
