"""Real servers for tests: Git over HTTP and SSH, an HTTP proxy, and a proxy in front of the Kubernetes API."""
