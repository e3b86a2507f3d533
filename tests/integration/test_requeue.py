"""A run that lost its lease is queued again once; every other run stays as it ended (real server)."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import (
    FlowRun,
    State,
    StateType,
)
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Completed, Crashed, Pending, Running

from deployments.worker import worker_argv
from governor.lease_files import read_leases
from governor.processes import identify
from governor.requeue import LEASE_LOST
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import transaction
from tests.integration.mirroring import LONG_AGO, NAME, leases_of, limit_of, now, run_that_ended, soon, state_of

pytest_plugins = ["tests.integration.mirroring"]


def test_run_that_lost_its_lease_is_queued_again_once(
    client: SyncPrefectClient, deployment_id: UUID, look: Any
) -> None:
    run = run_that_ended(client, deployment_id, Crashed(message=LEASE_LOST))
    (sentence,) = look(at=soon())
    assert "queued again" in sentence
    state = state_of(client, run)
    assert (state.type, state.name) == (StateType.SCHEDULED, "AwaitingRetry")
    assert look(at=soon()) == []
    # CANCEL_NEW lets it in: the place is free. Its second start is its last, whatever becomes of it.
    client.set_flow_run_state(run.id, Pending())
    assert state_of(client, run).type == StateType.PENDING
    client.set_flow_run_state(run.id, Running(), force=True)
    client.set_flow_run_state(run.id, Crashed(message=LEASE_LOST), force=True)
    assert look(at=soon()) == []
    assert state_of(client, run).type == StateType.CRASHED


def test_run_by_schedule_is_not_queued_again_when_a_later_one_had_its_turn(
    client: SyncPrefectClient, deployment_id: UUID, look: Any
) -> None:
    client.create_deployment_schedules(deployment_id, [(IntervalSchedule(interval=LONG_AGO), True)])
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment_id}, json={"max_runs": 3})
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    for run, end in zip(runs, (Crashed(message=LEASE_LOST), Completed(), Crashed(message=LEASE_LOST)), strict=False):
        client.set_flow_run_state(run.id, Running(), force=True)
        client.set_flow_run_state(run.id, end, force=True)
    (sentence,) = look(at=soon())
    assert runs[2].name in sentence
    assert state_of(client, runs[0]).type == StateType.CRASHED


@pytest.mark.parametrize(
    "end",
    [
        Cancelled(message="a person's"),
        Cancelled(message=LEASE_LOST),
        Crashed(message="Process exited with status code: 1."),
        Completed(),
    ],
    ids=lambda state: f"{state.name} {state.message or ''}",
)
def test_run_that_ended_otherwise_stays_as_it_is(
    client: SyncPrefectClient, deployment_id: UUID, look: Any, end: State[Any]
) -> None:
    run = run_that_ended(client, deployment_id, end)
    assert look(at=soon()) == []
    assert state_of(client, run).type == end.type


@pytest.mark.parametrize("why", ["old", "fresh", "second start", "place taken", "process alive"])
def test_lost_run_is_left_alone_while_it_would_do_harm(
    client: SyncPrefectClient, deployment_id: UUID, look: Any, why: str
) -> None:
    run = run_that_ended(client, deployment_id, Crashed(message=LEASE_LOST), starts=2 if why == "second start" else 1)
    at = {"old": now() + timedelta(hours=25), "fresh": now() + timedelta(seconds=5)}.get(why, soon())
    if why == "place taken":
        update = GlobalConcurrencyLimitUpdate(active_slots=1)
        client.update_global_concurrency_limit(f"deployment:{deployment_id}", update)
    if why == "process alive":
        record = AgentRun(flow_run_id=str(run.id), agent="digest/lost", started_at=now())
        record.identity = identify()
        with transaction() as session:
            session.add(record)
    assert look(at=at) == []
    assert state_of(client, run).type == StateType.CRASHED


@pytest.fixture
def worker(fleet_server: Home, deployment_id: UUID) -> Iterator[None]:
    """A worker of the test's own pool, as `hotdesk` starts its own."""
    argv = worker_argv(1)
    argv[argv.index("--pool") + 1] = NAME
    env = {**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (fleet_server.logs / f"{NAME}.log").open("w") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)
    yield
    process.kill()  # at a SIGTERM while a run of its is just ending it hangs for good, every other time (measured)
    process.wait(10)


@pytest.mark.long
@pytest.mark.usefixtures("worker")
def test_worker_runs_a_lost_run_again_to_its_end(
    client: SyncPrefectClient, deployment_id: UUID, look: Any, fleet_server: Home
) -> None:
    """The real engine, renewal, crash and worker."""
    run = client.create_flow_run_from_deployment(deployment_id)
    wait_until(client, run, lambda state: state.is_running())
    limit_id = limit_of(client, f"deployment:{deployment_id}").id
    (lease,) = [found for found in read_leases(leases_of(fleet_server)) or () if limit_id in found.resource_ids]
    client.release_concurrency_slots_with_lease(lease.id)
    crashed = wait_until(client, run, lambda state: state.is_final())
    assert (crashed.type, crashed.message) == (StateType.CRASHED, LEASE_LOST)
    # Not sooner: a worker that is given a run again before its first process is over ends with an error (measured).
    (sentence,) = look(at=now() + timedelta(seconds=11))
    assert run.name in sentence
    assert wait_until(client, run, lambda state: state.is_final()).is_completed()
    assert client.read_flow_run(run.id).run_count == 2


def wait_until(client: SyncPrefectClient, run: FlowRun, done: Callable[[State[Any]], bool]) -> State[Any]:
    begun = time.monotonic()
    while not done(state := state_of(client, run)):
        assert time.monotonic() - begun < 60, state
        time.sleep(0.2)
    return state
