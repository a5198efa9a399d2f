"""The API server: requests, discovery, explanations of errors, leader election, Events. It is the only package that talks to the API
server, and the only importer of the Kubernetes client. It knows neither Sources nor Syncs.
"""
