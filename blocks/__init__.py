"""What an operator edits and what agents are built from."""
