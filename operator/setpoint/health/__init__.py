"""How an object is, from its own words: kstatus's order, a table by kind, then generic rules. One object in, one `Verdict` out. Pure."""
