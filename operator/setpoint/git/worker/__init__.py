"""The child process that talks to one Git server. Nothing here runs in the operator's own process."""
