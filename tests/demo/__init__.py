"""`make demo`: a real API server follows a real Git repository, told in eight steps."""
