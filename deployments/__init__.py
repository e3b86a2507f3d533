"""What prefect.yaml cannot say: server, limits, pool, worker, command line."""
