"""kill -9 at every named point of residency: the next agent gets its model, and no engine and no row is left over.

The names are read from the source, so a point that is new has no scene and fails here. Real engines with the real
weights, real rows, no server: the desk around it is what `test_every_failpoint` kills.
"""

import multiprocessing
import os
import re
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

import governor
from governor.failpoints import install
from governor.footprints import fittings
from governor.policy.facts import ModelSpec
from governor.processes import identify
from governor.residency import resident
from governor.resident_rows import engines_in_memory
from governor.settings import Home
from governor.state.models import Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading, remember, transaction
from governor.unloading import unload_idle

DIES_SECONDS = 60.0
Act = Callable[[ModelSpec, ModelSpec], None]


def points_in_the_source() -> list[str]:
    text = "\n".join(path.read_text() for path in Path(governor.__file__).parent.rglob("*.py"))
    return sorted(set(re.findall(r"\bfailpoint\(\s*\"(memory\.[a-z_]+)\"", text)))


def spec(model: str, weights: Path) -> ModelSpec:
    return ModelSpec(
        engine="embedded",
        model=model,
        source=weights.name,
        line="cpu",
        context_tokens=512,
        parameters_billion=0.135,
        expected_mib=200,
    )


def use(wanted: ModelSpec) -> int | None:
    """Sit down with a model and stand up; the pid of its engine."""
    row = Ticket(
        uuid=os.urandom(8).hex(),
        line="cpu",
        agent="a/b",
        state="seated",
        model=wanted.model,
        patience_seconds=1.0,
        taken_at=datetime.now(UTC),
    )
    row.identity = identify()
    with transaction() as session:
        session.add(row)
    with resident(wanted, row.id) as here:
        assert here.loaded.identity is not None
        return here.loaded.identity.pid


def sits_down(old: ModelSpec, new: ModelSpec) -> None:
    """It needs the room of the one before it."""
    use(new)


def finds_it(old: ModelSpec, new: ModelSpec) -> None:
    """Its model is there."""
    use(old)


SCENES: dict[str, Act] = {
    "memory.leaving": sits_down,
    "memory.told": sits_down,
    "memory.reserved": sits_down,
    "memory.recorded": sits_down,
    "memory.loaded": sits_down,
    "memory.found": finds_it,
    "memory.let_go": sits_down,
    "memory.measured": sits_down,
}


def dies_at(point: str, act: Act, old: ModelSpec, new: ModelSpec) -> None:
    """Run by the victim."""

    def hook(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    act(old, new)


def engines() -> set[int]:
    """Engine children of this state folder, whoever started them."""
    found = set()
    for process in psutil.process_iter():
        try:
            ours = "embedded_child" in " ".join(process.cmdline())
            if ours and process.environ().get("HOTDESK_HOME") == os.environ["HOTDESK_HOME"]:
                found.add(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def stage(weights_home: Home, weights_file: Path) -> Iterator[tuple[ModelSpec, ModelSpec]]:
    """One model in memory, idle, and room for no second one beside it."""
    old, new = spec("old", weights_file), spec("new", weights_file)
    remember("memory_budget_mib", str(1.3 * fittings(old)[0].footprint.mib))
    use(old)
    yield old, new
    for row in engines_in_memory():
        unload_idle(row.id, reason="the test is over")


@pytest.mark.parametrize("point", points_in_the_source())
def test_whoever_dies_there_the_next_agent_gets_its_model(point: str, stage: tuple[ModelSpec, ModelSpec]):
    old, new = stage
    victim = multiprocessing.get_context("fork").Process(target=dies_at, args=(point, SCENES[point], old, new))
    victim.start()
    victim.join(DIES_SECONDS)
    assert victim.exitcode == -signal.SIGKILL
    pid = use(new)
    with reading() as session:
        inside = session.scalars(select(Resident).where(Resident.state != "gone")).all()
    assert [(row.model, row.state, row.pid) for row in inside] == [("new", "resident", pid)]
    for other in engines() - {pid}:
        psutil.Process(other).wait(5)  # it ends by itself when nobody took it over
    assert engines() == {pid}
