"""The ground of `burst`: a server of its own, a pool, one deployment of the flow for each run, and a worker.

Two ways: `ours`, the worker that `hotdesk up` starts; `process`, Prefect's process worker with a limit. Imports
Prefect, so the server's address must stand in the environment before.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import TERMINAL_STATES, ConcurrencyOptions, StateType
from prefect.states import Scheduled
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, POOL, WORKER
from deployments.environment import client_environment
from deployments.fleet import checkout
from deployments.services import running, start_service, stop_service
from deployments.worker import start_workers, stop_workers
from governor.errors import NotReady
from governor.profile import current_profile
from governor.settings import Home
from tests.benchmarks.burst_figures import Ended
from tests.benchmarks.burst_flow import burst
from tests.benchmarks.report import say

ENTRYPOINT = "tests/benchmarks/burst_flow.py:burst"
SET_FOLDER = "prefect.deployments.steps.set_working_directory"
PROCESS, OURS = "process", "ours"
# As the workers of `hotdesk up` polled before there was one of our own; Prefect's default is 10.
POLL_SECONDS = 3
PAGE = 200


@dataclass(frozen=True)
class Way:
    """How runs are started. `pool_type`: what the pool is made as; `by_hand`: `prefect worker start` with `limit`."""

    name: str
    pool_type: str
    limit: int
    by_hand: bool = True


def make_pool(client: SyncPrefectClient, way: Way, pool: str = POOL) -> None:
    """The pool with both queues, with the template of its worker."""
    template = _worker_class(way).get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=pool, type=way.pool_type, base_job_template=template))
    there = {DEFAULT_QUEUE}  # the pool brings it
    for queue in {DEFAULT_QUEUE, GOVERNOR_QUEUE} - there:
        client.create_work_queue(queue, work_pool_name=pool)


def _worker_class(way: Way) -> Any:
    if way.pool_type == PROCESS:
        return ProcessWorker
    from deployments.fleet_worker import FleetWorker

    return FleetWorker


def make_deployments(client: SyncPrefectClient, count: int) -> list[UUID]:
    """So many of the one flow, each as an agent of the fleet is deployed."""
    flow_id = client.create_flow_from_name(burst.name)
    shape = parameter_schema(burst).model_dump(exclude_unset=True)
    return [
        client.create_deployment(
            flow_id=flow_id,
            name=f"agent-{number:03}",
            work_pool_name=POOL,
            work_queue_name=DEFAULT_QUEUE,
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions.model_validate({"collision_strategy": "CANCEL_NEW"}),
            parameter_openapi_schema=shape,
            entrypoint=ENTRYPOINT,
            pull_steps=[{SET_FOLDER: {"directory": str(checkout())}}],
        )
        for number in range(count)
    ]


def submit(client: SyncPrefectClient, deployment: UUID, hold_seconds: float, due: datetime | None = None) -> str:
    """One run, due at that moment or now; its id."""
    state = Scheduled(scheduled_time=due) if due else None
    parameters = {"hold_seconds": hold_seconds}
    return str(client.create_flow_run_from_deployment(deployment, parameters=parameters, state=state).id)


def how_many_ended(client: SyncPrefectClient) -> int:
    """Runs that the server calls ended; one query that costs it little."""
    ended = FlowRunFilterStateType(any_=[StateType(one) for one in TERMINAL_STATES])
    return client.count_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=ended)))


def ends(client: SyncPrefectClient) -> list[Ended]:
    """What the server says of every run."""
    found: list[Ended] = []
    while len(page := client.read_flow_runs(limit=PAGE, offset=len(found))):
        for run in page:
            state = run.state
            final = state is not None and state.is_final()
            at = state.timestamp.timestamp() if state is not None and final else None
            found.append(Ended(str(run.id), state.name or "" if state else "", at, (state and state.message) or ""))
    return found


@contextmanager
def worker(where: Home, port: int, way: Way) -> Iterator[dict[str, Any]]:
    """The worker of that way beside the block; what it was started as."""
    say(f"{way.name}: starting the worker")
    # What standing in flows/ does for an agent's file; Prefect's own worker knows nothing of it.
    os.environ["HOTDESK_PRELOAD"] = str(checkout() / ENTRYPOINT.partition(":")[0])
    if way.name == OURS and not way.by_hand:
        profile = current_profile()
        try:
            rows = start_workers(where, profile, port)
            yield {"services": [row.name for row in rows], "worker_limit_of_the_profile": profile.worker_limit}
        finally:
            _ended(stop_workers(where))
        return
    env = {**client_environment(where, port), "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS)}
    try:
        start_service(where, WORKER, worker_argv(POOL, way.pool_type, way.limit), env=env)
        yield {"limit": way.limit, "poll_seconds": POLL_SECONDS}
    finally:
        _ended([] if stop_service(where, WORKER) else [WORKER])


def worker_argv(pool: str, kind: str, limit: int, queue: str | None = None) -> list[str]:
    """The command line of a worker as a person types it."""
    return [
        *(sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", kind),
        *(("--work-queue", queue) if queue else ()),
        *("--limit", str(limit), "--name", f"benchmark-{queue or pool}-{os.getpid()}", "--install-policy", "never"),
    ]


def check_alive(where: Home, way: Way) -> None:
    """Raise NotReady once the worker has ended: nothing would come any more."""
    if running(where, WORKER) is None:
        log = Path(where.logs) / f"{WORKER}.log"
        raise NotReady(f"The worker ({way.name}) has ended.", remedy=f"Read {log}.")


def _ended(left: list[str]) -> None:
    if left:
        raise RuntimeError(f"these could not be stopped: {', '.join(left)}")
