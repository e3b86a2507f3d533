"""The worker service: one process for agents and house, and the fork server beside it (`fleet_worker`).

Agents have the places that profile and memory give; `govern` and `evict` have two of their own, so fifty waiting
agents never keep the governor out.
"""

import os
import sys

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, OLD_WORKERS, POOL, POOL_TYPE, WORKER
from deployments.environment import ZONES, client_environment
from deployments.services import GRACE_SECONDS, start_service, stop_all
from governor.policy.facts import Profile
from governor.settings import Home
from governor.state.models import Service

# The event stream wakes the worker; this is for when it is away. An empty poll costs the server 31-49 ms of CPU.
POLL_SECONDS = 10


def start_workers(where: Home, profile: Profile, port: int | None = None) -> list[Service]:
    """Start the worker unless it runs; returns its row.

    Raises:
        NotReady: it cannot be started.
    """
    stop_all(where, OLD_WORKERS)
    env = {**client_environment(where, port), **ZONES, "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS)}
    return [start_service(where, WORKER, worker_argv(profile.worker_limit), env=env)]


def stop_workers(where: Home, *, grace_seconds: float = GRACE_SECONDS) -> list[str]:
    """Stop the worker and the flow runs it left behind; returns the names of those still alive."""
    return stop_all(where, (WORKER, *OLD_WORKERS), grace_seconds=grace_seconds)


def worker_argv(limit: int) -> list[str]:
    """The command line of the worker; a person may type the same. `limit` is for agents alone."""
    return [
        *(sys.executable, "-m", "prefect", "worker", "start"),
        *("--pool", POOL, "--type", POOL_TYPE),
        *("--work-queue", DEFAULT_QUEUE, "--work-queue", GOVERNOR_QUEUE),
        *("--limit", str(limit), "--name", f"hotdesk-{os.uname().nodename}"),
        *("--install-policy", "never"),
    ]
