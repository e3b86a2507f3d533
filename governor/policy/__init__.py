"""Pure decisions: facts in, decision out. Nothing here reads a clock, a file or a network."""
