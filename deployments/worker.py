"""The workers: one for agents, one that nothing but the governor's flows can fill.

Fifty waiting agents must never keep the governor out, so its queue has a worker of its own. What a
worker runs is Prefect's business.
"""

import os
import sys

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, POOL
from deployments.environment import client_environment
from deployments.services import GRACE_SECONDS, start_service, stop_all
from governor.policy.facts import Profile
from governor.settings import Home
from governor.state.models import Service

AGENT_WORKER, GOVERNOR_WORKER = "worker", "governor-worker"
# One `govern` and one `evict` at a time.
GOVERNOR_LIMIT = 2
# Prefect's default of 10 s is most of an agent's waiting on a quiet machine; an empty poll costs
# the server 31-49 ms of CPU, so every 3 s is about 3% of a core for both workers.
POLL_SECONDS = 3


def start_workers(where: Home, profile: Profile, port: int | None = None) -> list[Service]:
    """Start both workers, each unless it runs; returns their rows.

    Raises:
        NotReady: one cannot be started.
    """
    env = {**client_environment(where, port), "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS)}
    plan = ((AGENT_WORKER, DEFAULT_QUEUE, profile.worker_limit), (GOVERNOR_WORKER, GOVERNOR_QUEUE, GOVERNOR_LIMIT))
    return [start_service(where, name, worker_argv(name, queue, limit), env=env) for name, queue, limit in plan]


def stop_workers(where: Home, *, grace_seconds: float = GRACE_SECONDS) -> list[str]:
    """Stop both workers and the flow runs they left behind; returns the names of those still alive."""
    return stop_all(where, (AGENT_WORKER, GOVERNOR_WORKER), grace_seconds=grace_seconds)


def worker_argv(name: str, queue: str, limit: int) -> list[str]:
    """The command line of one worker; a person may type the same."""
    return [
        *(sys.executable, "-m", "prefect", "worker", "start"),
        *("--pool", POOL, "--type", "process", "--work-queue", queue),
        *("--limit", str(limit), "--name", f"hotdesk-{name}-{os.uname().nodename}"),
        *("--install-policy", "never"),
    ]
