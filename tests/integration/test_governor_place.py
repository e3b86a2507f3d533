"""The governor's place: agents that fill every other one do not keep it out (real server and worker)."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus

from deployments.bootstrap_names import DEFAULT_QUEUE, POOL
from deployments.worker import start_workers, stop_workers
from governor.profile import current_profile
from governor.settings import Home

# What is promised: two looks of the worker and the start of a process, on a machine that is busy.
STARTS_WITHIN = timedelta(seconds=15)
PLACES = 2
WAIT_SECONDS = 90.0
WAITER = """
import time
from prefect import flow

@flow(name="place-test")
def waits():
    while True:
        time.sleep(0.2)
"""
T = TypeVar("T")


@pytest.fixture
def client(fleet_server: Home) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def quiet_fleet(client: SyncPrefectClient) -> Iterator[None]:
    """Nothing of the fleet is due meanwhile: no schedule fires, and what other tests left to run is gone."""
    running = [found.id for found in client.read_deployments() if not found.paused]
    for deployment_id in running:
        client.pause_deployment(deployment_id)
    due = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    ours = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    for run in client.read_flow_runs(flow_run_filter=due, work_pool_filter=ours):
        client.delete_flow_run(run.id)
    yield
    for deployment_id in running:
        client.resume_deployment(deployment_id)


@pytest.fixture
def waiter(client: SyncPrefectClient, quiet_fleet: None, tmp_path: Path) -> Iterator[UUID]:
    """An agent that waits for good, in the queue of all agents."""
    (tmp_path / "waiter.py").write_text(WAITER)
    flow_id = client.create_flow_from_name("place-test")
    yield client.create_deployment(
        flow_id,
        "agent",
        work_pool_name=POOL,
        work_queue_name=DEFAULT_QUEUE,
        entrypoint="waiter.py:waits",
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}],
    )
    client.delete_flow(flow_id)


@pytest.fixture
def worker(fleet_server: Home, client: SyncPrefectClient, waiter: UUID) -> Iterator[None]:
    """As `hotdesk up` starts it, with few places so that few processes fill them; up and looking."""
    start_workers(fleet_server, current_profile().model_copy(update={"worker_limit": PLACES}))
    try:
        until(lambda: [w.status for w in client.read_workers_for_work_pool(POOL)] == [WorkerStatus.ONLINE])
        yield
    finally:
        assert stop_workers(fleet_server, grace_seconds=0.5) == []  # a worker waits for its runs, which wait for good


@pytest.mark.usefixtures("worker")
def test_governor_starts_and_works_within_15_seconds_while_agents_fill_every_place(
    client: SyncPrefectClient, waiter: UUID
) -> None:
    waiting = [client.create_flow_run_from_deployment(waiter) for _ in range(PLACES + 1)]
    until(lambda: states(client, waiting).count(StateType.RUNNING) == PLACES)
    govern = client.read_deployment_by_name("govern/govern")
    made = client.create_flow_run_from_deployment(govern.id)
    run = until(lambda: started(client, made))
    assert run.created is not None and run.start_time is not None
    assert run.start_time - run.created <= STARTS_WITHIN
    assert sorted(states(client, waiting)) == [StateType.RUNNING] * PLACES + [StateType.SCHEDULED]
    ended = until(lambda: client.read_flow_run(run.id) if state_of(client, run).is_final() else None)
    assert ended.state is not None and ended.state.is_completed(), ended.state


def started(client: SyncPrefectClient, run: FlowRun) -> FlowRun | None:
    found = client.read_flow_run(run.id)
    return found if found.start_time is not None else None


def state_of(client: SyncPrefectClient, run: FlowRun) -> State[Any]:
    state = client.read_flow_run(run.id).state
    assert state is not None
    return state


def states(client: SyncPrefectClient, runs: list[FlowRun]) -> list[StateType]:
    return [state_of(client, run).type for run in runs]


def until(look: Callable[[], T | None]) -> T:
    """What `look` finds, once it finds anything."""
    begun = time.monotonic()
    while not (found := look()):
        assert time.monotonic() - begun < WAIT_SECONDS
        time.sleep(0.2)
    return found
