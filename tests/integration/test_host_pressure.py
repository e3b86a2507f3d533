"""Real pressure on this host: the rungs come in order, an idle model leaves, and the next agent completes.

The hog, the kernel's figures, the server, the lines and the embedded engine with the shipped weights are real. How the
host is put under pressure, and what bounds it, is `tests.benchmarks.host_ways`; two of the three ways take root.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from datetime import time as wall_time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from governor import pauses
from governor.actions import pause_line
from governor.answers import Answer
from governor.asking import ask_all
from governor.batch import Mandate
from governor.errors import LeftLine
from governor.policy.facts import Kind, Rung
from governor.policy.ladder import Cooldown, Standing
from governor.policy.pausing import GOVERNOR
from governor.policy.pressure import Mark
from governor.policy.requests import ModelRequest, Quality
from governor.policy.rules import Rules
from governor.policy.watermarks import Hours
from governor.settings import Home
from governor.standing import keep, keep_rules, standing
from governor.state.residents import Resident
from governor.state.sessions import reading, transaction
from governor.tick import govern_for
from tests.benchmarks import rung_steps
from tests.benchmarks.host_ways import FILLING, RECLAIMING, SWAPPING, NotPossible, Way, hogging, ready

# Quick enough for a test; never night, whenever it runs.
QUICK = Cooldown(up_seconds=0.5, down_seconds=0.5)
DAY = Hours(night_from=wall_time(0), night_until=wall_time(0))
# Bounds; three readings and as many rungs take some 3 s up, and 4 s down.
UP_SECONDS, DOWN_SECONDS = 30.0, 30.0


class Enough(Exception):
    """The line is paused: no need to look on."""


@pytest.fixture
def calm(fleet_server: Home) -> Iterator[None]:
    """The ladder stands at normal before and after, for the other tests of this server."""
    _to_normal()
    yield
    _to_normal()


def _to_normal() -> None:
    keep_rules(Rules())
    with transaction() as session:
        keep(session, Standing())
    pauses.resume(pause_line.lines_by_memory()["ram"], by=GOVERNOR, now=datetime.now(UTC))


LATER = [pytest.param(way, marks=pytest.mark.long) for way in (RECLAIMING, SWAPPING)]


@pytest.mark.parametrize("way", [FILLING, *LATER], ids=lambda way: way.name)
def test_the_rungs_come_in_order_an_idle_model_leaves_and_the_next_agent_completes(
    way: Way, calm: None, tmp_path: Path
):
    assert _asked("before", quality=Quality.QUICK).verified
    [idle] = _resident("cpu")
    try:
        with ready(way, tmp_path) as told:
            rules = Rules(marks=_quick_marks(way), hours=DAY, cooldown=QUICK)
            began_s = time.monotonic()
            with hogging(told):
                with pytest.raises(Enough):
                    govern_for(UP_SECONDS, rules=rules, pause=_until_paused)
                assert standing().at_least(Rung.PAUSE_LINE, "ram")
                with pytest.raises(LeftLine, match=r"paused .* by the governor: pressure on"):
                    _asked("under pressure", patience_seconds=0.5)
            govern_for(DOWN_SECONDS, rules=rules)
    except NotPossible as error:
        pytest.skip(f"{way.name} is not possible here: {error}")
    taken = rung_steps.steps(began_s, time.monotonic(), [mark.reading for mark in rules.marks])
    climbed = rung_steps.rungs(taken)
    assert climbed[:3] == ["trim", "evict_idle", "pause_line"], taken
    assert rung_steps.in_order(climbed), taken
    assert any("evicted" in did for step in taken for did in step["did"]), taken
    assert idle.pid is not None and not _lives(idle.pid)
    assert _asked("after").verified


def _until_paused(seconds: float) -> None:
    """Between two looks."""
    if standing().at_least(Rung.PAUSE_LINE, "ram"):
        raise Enough
    time.sleep(seconds)


def _quick_marks(way: Way) -> tuple[Mark, ...]:
    """Stall figures are means of ten seconds: of the defaults a short test can wait for the swap's alone.

    There the swap leads to the firm rungs only together with those figures; here it does by itself.
    """
    marks = way.marks()
    swap = [mark.model_copy(update={"firm_with": ()}) for mark in marks if mark.reading == "swap_mib_per_s"]
    return tuple(swap) if way is SWAPPING else marks


def _asked(agent: str, *, patience_seconds: float = 60.0, quality: Quality | None = None) -> Answer:
    request = ModelRequest(kind=Kind.WRITE, prompt="Say something about a desk.", quality=quality, max_tokens=16)
    return ask_all([request], Mandate(agent, patience_seconds)).answers[0]


def _resident(line: str) -> list[Resident]:
    with reading() as session:
        return list(session.scalars(select(Resident).where(Resident.state == "resident", Resident.line == line)))


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
