"""The command line: the parser, and the commands that run without an operator."""
