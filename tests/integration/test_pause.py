"""A paused line on the real server: who waits skips and says why, the limit stays as it is, then the next one sits."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from prefect import flow
from prefect.client.schemas.objects import State
from sqlalchemy import select

from blocks.agent import agent
from blocks.parameters import AgentParameters
from deployments.pause import Wishes, run_pause, run_resume
from governor.desk import desk, line_of
from governor.effects import RealEffects
from governor.lease import PrefectLimit
from governor.line import Errand
from governor.profile import current_profile
from governor.rows import IN_LINE
from governor.settings import Home, home
from governor.state.models import AgentRun, Ticket
from governor.state.sessions import reading
from governor.turn import Turn

WITHIN_SECONDS = 30.0


@flow
def waits_for_the_gpu() -> State:
    """An agent that has not sat down yet; it is never as far as to load a model."""
    spec = current_profile().tiers["heavy"]
    with (
        agent(AgentParameters(source="none", patience_seconds=300)) as run,
        desk(spec, Errand("gpu", run.agent, spec.model, 300.0)),
    ):
        pass
    return run.state


@contextmanager
def seated(agent_name: str) -> Iterator[Turn]:
    """Somebody at the real desk, without a model."""
    line = line_of("gpu")
    line.ensure_slots(1)
    errand = Errand("gpu", agent_name, "m", WITHIN_SECONDS)
    with PrefectLimit("gpu") as limit:
        turn = Turn(line, limit, RealEffects(home().bells), errand, slots=1, budget_seconds=600)
        try:
            turn.take()
            turn.wait()
            turn.start_renewing()
            yield turn
        finally:
            turn.rise()


def limit_now() -> tuple[bool, int, int]:
    """Whether Prefect's limit is active, its size, and how much of it is taken."""
    with PrefectLimit("gpu") as limit:
        found = limit.client.read_global_concurrency_limit_by_name("gpu")
    return found.active, found.limit, found.active_slots


def pause_once_somebody_waits() -> None:
    ends_s = time.monotonic() + WITHIN_SECONDS
    waiting = select(Ticket.id).where(Ticket.line == "gpu", Ticket.state.in_(IN_LINE))
    while time.monotonic() < ends_s:
        with reading() as session:
            if session.scalars(waiting).first() is not None:
                break
        time.sleep(0.05)
    list(run_pause(Wishes(how_long="1h", why="a game")))


def test_a_waiting_agent_skips_with_the_reason_and_after_resume_the_next_one_sits(fleet_server: Home):
    with seated("digest/first") as first:
        person = threading.Thread(target=pause_once_somebody_waits)
        person.start()
        began = datetime.now(UTC)
        state = waits_for_the_gpu(return_state=True)
        person.join(WITHIN_SECONDS)
        assert (datetime.now(UTC) - began).total_seconds() < WITHIN_SECONDS
        assert (state.name, state.type.value) == ("Skipped", "COMPLETED")
        assert "the gpu line is paused since" in (state.message or "") and "by a person: a game" in (
            state.message or ""
        )
        with reading() as session:
            record = session.scalars(select(AgentRun).order_by(AgentRun.id.desc()).limit(1)).one()
        assert (record.state, "by a person: a game" in (record.message or "")) == ("skipped", True)
        assert first.is_current()
        assert limit_now() == (True, 1, 1)
    assert limit_now() == (True, 1, 0)
    assert "open again" in next(iter(run_resume(None)))
    with seated("digest/second") as second:
        assert second.is_current()
        assert limit_now() == (True, 1, 1)
