"""Builds all parts once, in order, and ends them in order; kopf's events become keys in queues. The only importer of kopf. No logic."""
