"""A run that waited on a real server until there was room: its time stays what it was, and counts for its patience."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.states import Late, Pending, Scheduled
from sqlalchemy import delete

from blocks import agent as frame
from blocks.parameters import AgentParameters
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import transaction

AGENT = "triage/issues"
TOLD = AgentParameters(source="none", window_minutes=60)
KEPT_OUT = timedelta(minutes=20)


@pytest.fixture
def server(fleet_server: Home) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(AGENT)
        client.pause_deployment(deployment.id)  # no scheduler's time may come between
        yield client
        client.resume_deployment(deployment.id)
    with transaction() as session:
        session.execute(delete(AgentRun).where(AgentRun.agent == AGENT))


def admitted_after(client: SyncPrefectClient, run: FlowRun, *, monkeypatch: pytest.MonkeyPatch) -> frame.Run:
    """The run as its agent sees it when it was let in `KEPT_OUT` after it was wanted."""
    assert client.set_flow_run_state(run.id, Pending()).status is SetStateStatus.ACCEPT
    seen = client.read_flow_run(run.id).expected_start_time
    assert seen == run.expected_start_time
    assert seen is not None
    monkeypatch.setattr(frame, "flow_run", SimpleNamespace(scheduled_start_time=seen))
    record = AgentRun(agent=AGENT, started_at=seen + KEPT_OUT, flow_run_id=str(run.id))
    with transaction() as session:
        session.add(record)
    began = frame._run_of(record, TOLD, by_schedule=frame.BY_SCHEDULE_TAG in run.tags)
    client.delete_flow_run(run.id)
    return began


def test_a_scheduled_run_that_was_kept_out_counts_from_its_time(
    server: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
):
    due = datetime.now(UTC).replace(microsecond=0) - KEPT_OUT
    run = server.create_flow_run_from_deployment(
        server.read_deployment_by_name(AGENT).id,
        state=Scheduled(scheduled_time=due),
        tags=[frame.BY_SCHEDULE_TAG],
    )
    server.set_flow_run_state(run.id, Late(scheduled_time=due))  # as the server marks it meanwhile
    began = admitted_after(server, run, monkeypatch=monkeypatch)
    assert (began.expected_at, began.late_seconds, began.too_late) == (due, KEPT_OUT.total_seconds(), "")


def test_a_run_by_hand_counts_from_when_it_was_asked_for(server: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch):
    before = datetime.now(UTC)
    run = server.create_flow_run_from_deployment(server.read_deployment_by_name(AGENT).id)
    assert frame.BY_SCHEDULE_TAG not in run.tags
    assert run.state is not None
    assert run.expected_start_time == run.state.state_details.scheduled_time
    began = admitted_after(server, run, monkeypatch=monkeypatch)
    assert before - timedelta(seconds=1) <= began.expected_at <= datetime.now(UTC)
    assert (began.late_seconds, began.too_late) == (KEPT_OUT.total_seconds(), "")
