"""What the governor tells the real server: an event for each step, and the two artifacts of its report."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from sqlalchemy import delete

from blocks.governor_report import DRAWN_KEY, PICTURE_KEY, TABLE_KEY
from governor.settings import Home
from governor.standing import RULES_KEY, RUNG_KEY, STANDING_KEY
from governor.state.models import GovernorTick, Setting
from governor.state.sessions import transaction
from governor.tick import SEEN_KEY

PREFIX = "hotdesk.governor."
# Prefect's server writes events down in batches, every 5 s.
STORED_SECONDS = 30.0
# A short process of its own, as a worker's run is: what it emitted last must not be lost with it.
UP_AND_DOWN = """
from datetime import UTC, datetime
from prefect import flow
from blocks.governor_report import report
from deployments.tour import ALWAYS_EXCEEDED, AT_ONCE, NEVER_EXCEEDED
from governor.policy.rules import Rules
from governor.tick import govern_for

@flow
def up_and_down():
    looks = []
    for mark in (ALWAYS_EXCEEDED, NEVER_EXCEEDED):
        looks += govern_for(0.5, rules=Rules(marks=(mark,), cooldown=AT_ONCE))
    report(looks, ["nothing else"], now=datetime.now(UTC))
    return [look.rung for look in looks]

print(up_and_down())
"""


@pytest.fixture
def normal_afterwards(fleet_server: Home) -> Iterator[None]:
    """The server's state folder is every test's: the ladder, the rules and the looks go back to what they were."""
    yield
    kept = (STANDING_KEY, RUNG_KEY, RULES_KEY, SEEN_KEY, DRAWN_KEY)
    with transaction() as session:
        session.execute(delete(Setting).where(Setting.key.in_(kept)))
        session.execute(delete(GovernorTick))


@pytest.mark.usefixtures("normal_afterwards")
def test_every_step_of_the_ladder_is_an_event_on_the_server_and_its_report_two_artifacts() -> None:
    begun = datetime.now(UTC)
    run = subprocess.run([sys.executable, "-c", UP_AND_DOWN], capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout.strip().splitlines()[-1:] == ["['normal', 'trim', 'normal', 'normal']"], run.stderr
    up, down = stored_events(begun, wanted=2)
    assert (up["event"], down["event"]) == (f"{PREFIX}trim", f"{PREFIX}normal")
    assert up["resource"]["prefect.resource.id"] == "hotdesk.governor"
    assert up["payload"] == {
        "rung": "trim",
        "reason": "pressure on host_available_percent",
        "actions": ["moved from normal to trim for ram"],
        "by": "govern",
    }
    assert any(about["prefect.resource.role"] == "flow-run" for about in up["related"])
    table, picture = latest_artifact(TABLE_KEY), latest_artifact(PICTURE_KEY)
    assert "- nothing else" in table["description"] and "host memory available" in table["data"]
    assert picture["type"] == "image"
    assert picture["data"].startswith("data:image/svg+xml;base64,")
    assert "the highest rung was trim" in picture["description"]


def stored_events(since: datetime, *, wanted: int) -> list[dict[str, Any]]:
    """The governor's events as the server has stored them, oldest first."""
    ask = {"event": {"prefix": [PREFIX]}, "occurred": {"since": since.isoformat()}, "order": "ASC"}
    begun = time.monotonic()
    with get_client(sync_client=True) as client:
        while True:
            found = client.request("POST", "/events/filter", json={"filter": ask, "limit": 50}).json()["events"]
            if len(found) >= wanted:
                return found
            assert time.monotonic() - begun < STORED_SECONDS, found
            time.sleep(0.2)


def latest_artifact(key: str) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        return client.request("GET", "/artifacts/{key}/latest", path_params={"key": key}).json()
