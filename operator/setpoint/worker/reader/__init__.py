"""A reader: the process that reads the commits of one namespace, fenced in, for the broker."""
