"""The baseline: a waiter in Prefect's own `concurrency()` on a limit of the same server.

Imports Prefect, so the server's address must stand in the environment before.
"""

import time
from multiprocessing.connection import Connection

from prefect.concurrency.sync import concurrency

from tests.benchmarks.visits import Visit

LIMIT = "native-limit"
# The server refuses a shorter lease, so nothing native frees the slot of a killed holder sooner.
SHORTEST_LEASE_SECONDS = 60.0


def visit(pipe: Connection, number: int, hold_seconds: float) -> None:
    """Wait for the slot, hold it, give it back; then say the Visit."""
    arrival_s, arrival_cpu_s = time.monotonic(), time.process_time()
    with concurrency(LIMIT, strict=True):
        seated_s, seated_cpu_s = time.monotonic(), time.process_time()
        time.sleep(hold_seconds)
        left_s = time.monotonic()
    pipe.send(Visit(arrival_s, seated_s, left_s, {"waiting": seated_cpu_s - arrival_cpu_s}))


def sit_until_told(pipe: Connection, number: int, at_most_seconds: float) -> None:
    """Say ("joined", None) and ("seated", moment); stay seated until told anything, killed or orphaned."""
    pipe.send(("joined", None))
    with concurrency(LIMIT, strict=True, lease_duration=SHORTEST_LEASE_SECONDS):
        pipe.send(("seated", time.monotonic()))
        pipe.poll(at_most_seconds)
