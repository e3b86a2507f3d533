"""A line, a limit and an agent of their own for the tests of the mirror, on the session's real server.

The fleet's limits, pool and deployments stay as they are. PYTEST_DONT_REWRITE: the test files import names
from here before pytest loads it as their plugin, and it would warn.
"""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import (
    ConcurrencyLeaseHolder,
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    FlowRun,
    State,
)
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectNotFound
from prefect.states import Pending, Running
from prefect.workers.process import ProcessWorker
from sqlalchemy import delete, select

from governor.mirror import reconcile
from governor.settings import Home
from governor.state.models import AgentRun, Setting, Slot, Ticket
from governor.state.sessions import reading, transaction

# A line, a limit, a pool and a queue of this file's own: the fleet's stay as they are.
NAME = "mirror-test"
LONG_AGO = timedelta(hours=1)

LOST_FLOW = """
import time

from prefect import flow
from prefect.concurrency import _leases
from prefect.runtime import flow_run

_leases._RENEWAL_FRACTION = 0.002  # a renewal every 0.6 s, not every 225 s


@flow(name="mirror-test")
def lost():
    while flow_run.run_count == 1:
        time.sleep(0.05)
"""


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def client(fleet_server: Home) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def line(client: SyncPrefectClient) -> Iterator[str]:
    """A line whose limit does not exist yet."""
    yield NAME
    with contextlib.suppress(ObjectNotFound):
        client.delete_global_concurrency_limit_by_name(NAME)
    with transaction() as session:
        session.execute(delete(Slot).where(Slot.line == NAME))
        session.execute(delete(Ticket).where(Ticket.line == NAME))
        session.execute(delete(AgentRun).where(AgentRun.agent == "digest/lost"))
        session.execute(delete(Setting).where(Setting.key.startswith("stuck:")))


@pytest.fixture
def look(client: SyncPrefectClient, fleet_server: Home) -> Callable[..., list[str]]:
    """`reconcile` as the governor calls it, at a time of the test's choice."""

    def reconciled(slots: int | None = None, *, at: datetime | None = None, **other: Any) -> list[str]:
        facts = {"leases": leases_of(fleet_server), "pool": NAME, **other}
        using = facts.pop("client", client)
        return reconcile(using, {NAME: slots} if slots else {}, now=at or now(), **facts)

    return reconciled


def leases_of(server: Home) -> Path:
    return server.prefect / "concurrency_leases"


def limit_of(client: SyncPrefectClient, name: str = NAME) -> GlobalConcurrencyLimitResponse:
    return client.read_global_concurrency_limit_by_name(name)


def take_slot(client: SyncPrefectClient, holder: str | None = None) -> UUID:
    owner = ConcurrencyLeaseHolder(type="task_run", id=UUID(holder or str(uuid4())))
    answer = client.increment_concurrency_slots_with_lease([NAME], 1, "concurrency", 60, owner)
    return UUID(answer.json()["lease_id"])


def ticket(state: str, *, ended: timedelta = LONG_AGO) -> str:
    row = Ticket(
        uuid=str(uuid4()),
        line=NAME,
        state=state,
        agent="digest/lost",
        model="any",
        patience_seconds=1.0,
        taken_at=now() - 2 * LONG_AGO,
        ended_at=now() - ended if state in ("done", "left", "reaped") else None,
    )
    with transaction() as session:
        session.add(row)
    return row.uuid


def states_of_the_line() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Slot.state).where(Slot.line == NAME)))


def soon() -> datetime:
    """Late enough for an ended run to be looked at."""
    return now() + timedelta(minutes=1)


@pytest.fixture
def deployment_id(client: SyncPrefectClient, line: str, tmp_path: Path) -> Iterator[UUID]:
    """An agent of one run at a time with CANCEL_NEW, in a pool of its own."""
    (tmp_path / "lost.py").write_text(LOST_FLOW)
    template = ProcessWorker.get_default_base_job_template()
    client.create_work_pool(WorkPoolCreate(name=NAME, type="process", base_job_template=template))
    flow_id = client.create_flow_from_name(NAME)
    yield client.create_deployment(
        flow_id,
        "agent",
        work_pool_name=NAME,
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint="lost.py:lost",
        pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}],
    )
    client.delete_flow(flow_id)
    client.delete_work_pool(NAME)


def run_that_ended(
    client: SyncPrefectClient, deployment_id: UUID, end: State[Any] | None, *, starts: int = 1
) -> FlowRun:
    """A run brought to a state by force, which it enters now."""
    run = client.create_flow_run_from_deployment(deployment_id)
    for _ in range(starts):
        client.set_flow_run_state(run.id, Pending(), force=True)
        client.set_flow_run_state(run.id, Running(), force=True)
    if end is not None:
        client.set_flow_run_state(run.id, end, force=True)
    return client.read_flow_run(run.id)


def state_of(client: SyncPrefectClient, run: FlowRun) -> State[Any]:
    state = client.read_flow_run(run.id).state
    assert state is not None
    return state
