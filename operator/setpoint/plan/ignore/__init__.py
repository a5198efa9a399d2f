"""Fields that belong to somebody else: which they are, and what of the live object is sent in place of Git's value."""
