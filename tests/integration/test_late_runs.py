"""Late runs on a real server that lets one run of an agent through: the work is done once, for the latest time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Pending, Scheduled
from sqlalchemy import delete

from blocks import agent as frame
from blocks.parameters import AgentParameters
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import transaction

AGENT = "triage/issues"
TOLD = AgentParameters(source="none")


@pytest.fixture
def late(fleet_server: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SyncPrefectClient, list[FlowRun]]]:
    """Four hourly runs of one deployment, all past, oldest first, each of which asked to be let through."""
    now = datetime.now(UTC).replace(microsecond=0)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(AGENT)
        client.pause_deployment(deployment.id)  # no scheduler's time may come between
        runs = [
            client.create_flow_run_from_deployment(
                deployment.id,
                state=Scheduled(scheduled_time=now - timedelta(hours=hours)),
                tags=[frame.BY_SCHEDULE_TAG],
            )
            for hours in (8, 7, 6, 5)
        ]
        for run in runs:
            client.set_flow_run_state(run.id, Pending())
        monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(deployment.id))
        yield client, [client.read_flow_run(run.id) for run in runs]
        for run in runs:
            client.delete_flow_run(run.id)
        client.resume_deployment(deployment.id)
        with transaction() as session:
            session.execute(delete(AgentRun).where(AgentRun.agent == AGENT))


def began(run: FlowRun, monkeypatch: pytest.MonkeyPatch) -> frame.Run:
    """A run as the frame sees it: on record, with the time that it was expected."""
    assert run.expected_start_time is not None
    monkeypatch.setattr(frame, "flow_run", SimpleNamespace(scheduled_start_time=run.expected_start_time))
    record = AgentRun(agent=AGENT, started_at=datetime.now(UTC), flow_run_id=str(run.id))
    with transaction() as session:
        session.add(record)
    return frame._run_of(record, TOLD, by_schedule=True)


def ended(run: frame.Run, state: str) -> None:
    with transaction() as session:
        session.get_one(AgentRun, run.record_id).state = state


def test_prefect_lets_one_of_them_through_and_that_one_does_the_work_of_the_latest_time(
    late: tuple[SyncPrefectClient, list[FlowRun]], monkeypatch: pytest.MonkeyPatch
):
    _, runs = late
    through = [run for run in runs if run.state_type is not StateType.CANCELLED]
    assert [run.id for run in through] == [runs[0].id]
    run = began(runs[0], monkeypatch)
    assert run.too_late == ""
    assert run.expected_at == runs[-1].expected_start_time


def test_who_comes_after_the_work_was_done_leaves_it_and_who_comes_after_a_failure_does_it(
    late: tuple[SyncPrefectClient, list[FlowRun]], monkeypatch: pytest.MonkeyPatch
):
    _, runs = late
    first = began(runs[0], monkeypatch)
    ended(first, "failed")
    second = began(runs[1], monkeypatch)
    assert second.too_late == ""
    ended(second, "written")
    assert "did the work since" in began(runs[2], monkeypatch).too_late


def test_a_server_that_is_gone_keeps_no_late_run_from_its_work(
    late: tuple[SyncPrefectClient, list[FlowRun]], monkeypatch: pytest.MonkeyPatch
):
    def gone() -> None:
        import httpx

        raise httpx.ConnectError("refused")

    _, runs = late
    monkeypatch.setattr(frame, "_client", gone)
    run = began(runs[0], monkeypatch)
    assert (run.too_late, run.expected_at) == ("", runs[0].expected_start_time)
