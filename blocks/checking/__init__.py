"""Rules that an answer must pass before it is called verified; one file per kind of rule. Pure."""
