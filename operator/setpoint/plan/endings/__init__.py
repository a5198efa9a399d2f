"""Objects that end by themselves: how far each is at its manifest, as a status holds it, and what follows when it is gone."""
