"""Turns the files of a commit into manifests: finds the files that count, reads plain YAML, runs kustomize (Helm later). Programs run in a
sandbox without network. It knows no cluster.
"""
