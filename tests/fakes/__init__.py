"""Stand-ins for servers that are not ours, on the loopback address. Each says in its docstring what it fakes."""
