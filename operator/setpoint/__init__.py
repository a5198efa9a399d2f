"""Setpoint: a GitOps operator that holds a Kubernetes cluster to a Git commit."""

from __future__ import annotations

__version__ = "0.1.0"
