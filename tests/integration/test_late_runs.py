"""Late runs on a real server: of all the times that an agent missed only the latest one is made up for."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

from blocks import agent as frame
from blocks.lateness import Late
from blocks.parameters import AgentParameters
from governor.settings import Home


@pytest.fixture
def missed_times(fleet_server: Home, monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Four hourly times of one deployment, all past, oldest first; nobody ran them."""
    now = datetime.now(UTC).replace(microsecond=0)
    times = [now - timedelta(hours=hours) for hours in (8, 7, 6, 5)]
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("triage/issues")
        client.pause_deployment(deployment.id)  # no worker is there, and no scheduler's time may come between
        for at in times:
            client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=at))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", str(deployment.id))
    return times


def test_the_latest_of_the_missed_times_works_and_the_others_leave_it_to_that_one(missed_times: list[datetime]):
    told = AgentParameters(source="none")
    said = [frame._too_late(datetime.now(UTC), at, told) for at in missed_times]
    assert [bool(why) for why in said] == [True, True, True, False]
    assert f"the run of {missed_times[-1]:%Y-%m-%d %H:%M} UTC stands for it" in said[0]


def test_who_may_not_be_late_skips_them_all(missed_times: list[datetime]):
    told = AgentParameters(source="none", late=Late.SKIP)
    assert all(frame._too_late(datetime.now(UTC), at, told) for at in missed_times)


def test_a_server_that_is_gone_keeps_no_late_run_from_its_work(
    missed_times: list[datetime], monkeypatch: pytest.MonkeyPatch
):
    def gone() -> None:
        import httpx

        raise httpx.ConnectError("refused")

    monkeypatch.setattr(frame, "_client", gone)
    assert frame._too_late(datetime.now(UTC), missed_times[0], AgentParameters(source="none")) == ""
