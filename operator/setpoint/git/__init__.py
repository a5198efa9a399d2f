"""Git remotes and the mirrors on disk: URLs, credentials, refs, fetching, reading commits. It is the only importer of libgit2. All network
access is in `git.worker`, in a child process.
"""
