"""The API server: requests, discovery, errors in words, leader election, Events. The only package that talks to it, and the only
importer of the Kubernetes client. Knows no Source and no Sync.
"""
