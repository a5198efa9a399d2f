"""The child process that talks to one Git server. None of this runs in the process of the operator."""
