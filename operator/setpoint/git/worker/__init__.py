"""The child process that talks to one Git server. None of this runs in the process that starts it."""
