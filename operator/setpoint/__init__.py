"""Setpoint: a GitOps operator that holds a Kubernetes cluster to a Git commit."""

__version__ = "0.1.0"
