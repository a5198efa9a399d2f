"""What the cluster holds of ours, kept up to date: one list and watch for each kind, and for pods of workloads that do not get on.
Keeps what `objects.observed` reduces an object to, never content.
"""
