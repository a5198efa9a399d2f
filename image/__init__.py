"""The operator's image: assembled here without Docker, and by `image/Dockerfile` with it."""
