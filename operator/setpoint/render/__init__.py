"""From the files of a commit to manifests: which files count, and what plain YAML, kustomize and (later) Helm make of them. Programs
run in a sandbox without network. Knows no cluster.
"""
