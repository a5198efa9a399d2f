"""Git remotes and the mirrors on disk: URLs, credentials, refs, fetching, reading commits. The only importer of libgit2. What touches the
network is in `git.worker`, and runs in a child process.
"""
