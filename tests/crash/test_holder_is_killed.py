"""kill -9 of the holder costs the next one a moment, not a lease (real server, engine and signals)."""

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from sqlalchemy import select

from governor.desk import desk
from governor.errors import LeftLine, NotReady
from governor.lease import PrefectLimit
from governor.line import Errand
from governor.policy.facts import ModelSpec
from governor.profile import current_profile
from governor.state.models import Slot, Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading


def start_holder(agent: str) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.crash.holder", "tiny", agent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    word, fence = child.stdout.readline().split()
    assert word == "seated"
    return child, int(fence)


def close(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    child.wait(30)


def active_slots(line: str) -> int:
    with PrefectLimit(line) as limit:
        return limit.client.read_global_concurrency_limit_by_name(line).active_slots


@pytest.fixture
def tiny(fleet_server: dict[str, str]) -> ModelSpec:
    return current_profile().tiers["tiny"]


def errand(spec: ModelSpec, agent: str, patience_seconds: float = 30.0) -> Errand:
    return Errand(spec.line, agent, spec.model, patience_seconds)


def test_the_next_in_line_sits_down_after_kill_9_of_the_holder(tiny: ModelSpec):
    child, fence = start_holder("digest/killed")
    os.kill(child.pid, signal.SIGKILL)
    started = time.monotonic()
    with desk(tiny, errand(tiny, "digest/heir")) as seat:
        seconds = time.monotonic() - started
        assert seat.fence == fence + 1
        assert active_slots(tiny.line) == 1
        seat.check()
    close(child)
    # Native recovery takes 59 s with the shortest lease; an engine that is still resident is found again.
    assert seconds < 10
    assert active_slots(tiny.line) == 0
    with reading() as session:
        assert session.scalars(select(Ticket.state).where(Ticket.agent == "digest/killed")).all() == ["reaped"]


def test_the_engine_of_a_killed_run_is_found_again(tiny: ModelSpec):
    child, _ = start_holder("digest/killed-too")
    with reading() as session:
        before = session.scalars(select(Resident.pid).where(Resident.state == "resident")).all()
    os.kill(child.pid, signal.SIGKILL)
    with desk(tiny, errand(tiny, "digest/finder")) as seat:
        assert seat.loaded.identity is not None
        assert seat.loaded.identity.pid in before
    close(child)


def test_waiting_past_ones_patience_leaves_the_line_with_the_reason(tiny: ModelSpec):
    child, _ = start_holder("digest/slow")
    with pytest.raises(LeftLine, match="digest/slow") as left, desk(tiny, errand(tiny, "digest/hasty", 0.5)):
        pass
    assert left.value.data["place"] == 1
    close(child)
    assert active_slots(tiny.line) == 0


@pytest.mark.parametrize("broken", [{"active": False}, {"limit": 2}])
def test_the_desk_refuses_to_run_ungated(tiny: ModelSpec, broken: dict[str, Any]):
    with PrefectLimit(tiny.line) as limit:
        limit.client.update_global_concurrency_limit(tiny.line, GlobalConcurrencyLimitUpdate(**broken))
        try:
            with pytest.raises(NotReady, match="limit"), desk(tiny, errand(tiny, "digest/ungated")):
                pass
        finally:
            right = GlobalConcurrencyLimitUpdate(active=True, limit=1)
            limit.client.update_global_concurrency_limit(tiny.line, right)
    with reading() as session:
        assert session.get_one(Slot, (tiny.line, 0)).state == "free"


def test_a_failure_at_the_desk_hands_the_desk_on(tiny: ModelSpec):
    with pytest.raises(ZeroDivisionError), desk(tiny, errand(tiny, "digest/failing")):
        raise ZeroDivisionError
    with desk(tiny, errand(tiny, "digest/after")) as seat:
        seat.check()
