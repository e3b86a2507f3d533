"""kill -9 of the governor at every named point: the next look finishes what it began, and the line goes on.

Real rows, real processes and a real engine with the real weights; what the card would say is a FAKE reading, since no
test can fill the machine's memory. The names are read from the source, so a point that is new has no scene here.
"""

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import governor
from governor import pauses, succession
from governor.actions.terminate import end_holders
from governor.failpoints import install
from governor.governing import Watch
from governor.line import Errand, Line
from governor.policy.facts import ModelSpec, Reading, Rung
from governor.policy.ladder import Cooldown, Standing
from governor.policy.pressure import Mark
from governor.policy.rules import Rules
from governor.policy.turns import Act
from governor.presence import announce, judge
from governor.processes import Life, life
from governor.residency import resident
from governor.resident_rows import engines_in_memory
from governor.settings import Home
from governor.standing import keep, standing
from governor.state.sessions import store, transaction
from governor.unloading import unload_idle
from tests.crash.test_memory_failpoints import DIES_SECONDS, spec, use

STEPS = ("begin", "commit", "done")
BAD = Reading(name="host_available_percent", value=5, unit="%")
RULES = Rules(
    marks=(Mark(reading=BAD.name, high=12, low=20, rising_is_bad=False, memory="ram", persistence=1),),
    cooldown=Cooldown(up_seconds=0, down_seconds=0),
)


def points_in_the_source() -> list[str]:
    text = "\n".join(path.read_text() for path in Path(governor.__file__).parent.rglob("*.py"))
    named = set(re.findall(r"\bfailpoint\(\s*\"(governor\.[a-z_]+)\"", text))
    changes = {name for name in re.findall(r"\.change\(\s*\"([a-z_]+)\"", text) if name in CHANGES}
    return sorted(named | {f"{change}.{step}" for change in changes for step in STEPS})


def look() -> str:
    """One look of somebody who sees trouble in the host's memory."""
    now = datetime.now(UTC)
    return Watch("govern", lambda *_: [BAD], rules=RULES).look(now=now, clock_s=time.monotonic()).rung


def dies_at(point: str, act: Callable[[], object]) -> None:
    """Run by the victim."""

    def hook(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    act()


def killed_at(point: str, act: Callable[[], object]) -> None:
    victim = multiprocessing.get_context("fork").Process(target=dies_at, args=(point, act))
    victim.start()
    victim.join(DIES_SECONDS)
    assert victim.exitcode == -signal.SIGKILL


@pytest.fixture
def model(weights_home: Home, weights_file: Path) -> Iterator[ModelSpec]:
    yield spec("held", weights_file)
    for row in engines_in_memory():
        unload_idle(row.id, reason="the test is over")


def the_line() -> Line:
    line = Line("cpu", store(), judge, announce)
    line.ensure_slots(1)
    return line


def times() -> dict[str, Any]:
    return {"now": datetime.now(UTC), "clock_s": time.monotonic()}


def stand(rung: Rung) -> None:
    with transaction() as session:
        keep(session, Standing(rung=rung, reached={"ram": rung}))


def force(point: str, wanted: ModelSpec, act: Callable[[], object]) -> None:
    """Who ends a model in use dies over it: the seat is void or it is not, and the next look ends the model."""
    line = the_line()
    mine = line.take(Errand("cpu", "digest/news", wanted.model, 60.0), **times())
    assert line.begin_asking(mine.id, 0, **times())
    grant = line.grant(mine.id, 0, lease_id="l", budget_seconds=600, **times())
    assert grant is not None
    with ExitStack() as inside:
        here = inside.enter_context(resident(wanted, mine.id))
        stand(Rung.PAUSE_LINE)
        killed_at(point, act)
        for _ in range(3):
            look()
        assert here.loaded.identity is not None
        assert life(here.loaded.identity) is Life.DEAD
        assert not line.is_current(grant)
    assert succession.hand_over(line, mine.id, grant, **times()) is not None
    assert standing().rung is Rung.FORCE_EVICT


def evicts(point: str, wanted: ModelSpec) -> None:
    """It dies over an idle model: the next look sees that it leaves."""
    use(wanted)
    stand(Rung.TRIM)
    killed_at(point, look)
    for _ in range(2):
        look()
    assert not [row for row in engines_in_memory() if row.model == wanted.model]


def forces(point: str, wanted: ModelSpec) -> None:
    force(point, wanted, look)


def ends_for_a_person(point: str, wanted: ModelSpec) -> None:
    force(point, wanted, lambda: end_holders("cpu", "a person wants it"))


def pauses_a_line(point: str, wanted: ModelSpec) -> None:
    """It dies while it pauses: the line is paused or it is not, and saying it again pauses it."""
    line, now = the_line(), datetime.now(UTC)
    mine = line.take(Errand("cpu", "digest/news", wanted.model, 60.0), **times())

    def pause() -> None:
        pauses.pause(["cpu"], by="person", reason="a game", until=now + timedelta(hours=1), now=now)

    killed_at(point, pause)
    pause()
    assert line.look(mine.id, **times()).step.act is Act.WAIT
    assert pauses.resume(["cpu"], by="person", now=now) == ["cpu"]
    assert line.look(mine.id, **times()).step.act is Act.ASK


def opens_a_line(point: str, wanted: ModelSpec) -> None:
    """It dies while it opens: said again, the line is open."""
    line, now = the_line(), datetime.now(UTC)
    mine = line.take(Errand("cpu", "digest/news", wanted.model, 60.0), **times())
    pauses.pause(["cpu"], by="person", reason="a game", until=None, now=now)
    killed_at(point, lambda: pauses.resume(["cpu"], by="person", now=now))
    pauses.resume(["cpu"], by="person", now=now)
    assert line.look(mine.id, **times()).step.act is Act.ASK


CHANGES = {"revoke_now": ends_for_a_person, "pause": pauses_a_line, "resume": opens_a_line}
SCENES = {"governor.decided": evicts, "governor.acted": evicts, "governor.revoked": forces}


@pytest.mark.parametrize("point", points_in_the_source())
def test_whoever_dies_there_the_next_look_finishes_it(point: str, model: ModelSpec):
    change = point.partition(".")[0]
    (SCENES.get(point) or CHANGES[change])(point, model)
