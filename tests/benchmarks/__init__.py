"""Benchmarks of the line against native Prefect: `python -m tests.benchmarks.NAME`. See README.md."""
