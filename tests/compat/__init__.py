"""What of Kubernetes was tried: each kind that the API server stores, with the members of its unions, through the real operator."""
