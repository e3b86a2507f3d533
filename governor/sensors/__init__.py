"""What the machine says of itself, one file per source; what cannot be read is unknown, never zero."""
