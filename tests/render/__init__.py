"""Tests of rendering: inputs, builds by the real kustomize, renderer processes, and the command line."""
