"""Objects that end by themselves: they finish, and are deleted when their own time is up. Which kinds do, and when the end is due. Pure."""
