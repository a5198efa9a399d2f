"""The connection between operator and worker, with real sockets and processes."""
