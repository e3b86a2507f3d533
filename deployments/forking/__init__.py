"""Flow runs as forks of a process that has imported everything once. Linux only; see `server`."""
