"""Stopping ends what this state folder recorded, and nothing else."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deployments import down
from deployments.down import run_down, stop_engines, stop_everything
from deployments.services import services, start_service, stop_service
from governor import engines, memory
from governor.errors import NotReady
from governor.processes import Identity, Life, identify, life
from governor.settings import Home
from governor.state.models import Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading, transaction
from tests.fakes.card import FakeCard, FakeEngine

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAD = Identity("another boot", "", 1, 1)


@pytest.fixture
def bystander() -> Iterator[Identity]:
    child = subprocess.Popen(SLEEP)
    yield identify(child.pid)
    child.kill()
    child.wait()


def test_everything_recorded_is_stopped_and_a_bystander_is_not(hotdesk_home: Home, bystander: Identity) -> None:
    rows = [start_service(hotdesk_home, name, SLEEP, env={}) for name in ("server", "worker")]
    said: list[str] = []
    assert stop_everything(hotdesk_home, said.append) == []
    assert all(life(row.identity) is Life.DEAD for row in rows if row.identity)
    assert services(hotdesk_home) == []
    assert life(bystander) is Life.ALIVE
    assert said == ["stopping worker", "stopping the server"]


def test_only_the_named_services_are_stopped(hotdesk_home: Home) -> None:
    start_service(hotdesk_home, "server", SLEEP, env={})
    start_service(hotdesk_home, "worker", SLEEP, env={})
    stop_everything(hotdesk_home, lambda _text: None, ["worker"])
    assert [row.name for row in services(hotdesk_home)] == ["server"]
    stop_everything(hotdesk_home, lambda _text: None)


def add_engine(owner: Identity | None, user: Identity | None, **fields: Any) -> int:
    now = datetime.now(UTC)
    with transaction() as session:
        ticket = None
        if user is not None:
            ticket = Ticket(
                uuid="t", line="gpu", agent="a", state="seated", model="m", patience_seconds=1.0, taken_at=now
            )
            ticket.identity = user
            session.add(ticket)
            session.flush()
        known = {"engine": "embedded", "model": "m", "context_tokens": 512, "line": "gpu", "state": "resident"}
        known |= {"address": "http://127.0.0.1:9", "claimed_by": ticket.id if ticket else None, "memory_mib": 1.0}
        row = Resident(**{**known, **fields})
        row.identity = owner
        session.add(row)
        session.flush()
        return row.id


def state_of(resident_id: int) -> str:
    with reading() as session:
        return session.get_one(Resident, resident_id).state


def test_idle_engine_is_ended_and_its_row_closed(hotdesk_home: Home, bystander: Identity) -> None:
    row = add_engine(bystander, None)
    assert stop_engines(lambda _text: None, force=False) == []
    assert life(bystander) is Life.DEAD
    assert state_of(row) == "gone"


def test_engine_that_a_living_agent_uses_is_ended_by_force_only(hotdesk_home: Home, bystander: Identity) -> None:
    row = add_engine(bystander, identify())
    said: list[str] = []
    assert stop_engines(said.append, force=False) == []
    assert life(bystander) is Life.ALIVE
    assert "living agent" in said[0]
    assert stop_engines(said.append, force=True) == []
    assert life(bystander) is Life.DEAD
    assert state_of(row) == "gone"


class LateCard(FakeCard):
    """A FAKE card that goes on holding 100 MiB for some looks after a process ended, as a driver does for 0.1 s."""

    def __init__(self, owner: Identity, looks: float) -> None:
        super().__init__()
        self.owner, self.looks = owner, looks

    def held_mib(self, pids: Sequence[int]) -> float | None:
        self.looks -= life(self.owner) is Life.DEAD
        return 100.0 if self.looks > 0 else 0.0


class Routed(FakeEngine):
    """A FAKE engine with something beside its models; `stuck` like one whose lock somebody keeps."""

    def __init__(self) -> None:
        super().__init__(FakeCard(), lambda _spec: 100.0)
        self.closed, self.stuck = False, False

    def close(self) -> None:
        if self.stuck:
            raise NotReady("Another process keeps its lock.", remedy="End it.")
        self.closed = True


@pytest.fixture
def routed(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Routed]]:
    """Two engines of ours, by name."""
    made = {"one": Routed(), "two": Routed()}
    with monkeypatch.context() as patched:
        for name, engine in made.items():
            module = ModuleType(f"governor.engines.{name}")
            vars(module)["Made"] = lambda engine=engine: engine
            patched.setitem(sys.modules, module.__name__, module)
            patched.setitem(engines.CLASSES, name, "Made")
        engines.engine.cache_clear()
        yield made
    engines.engine.cache_clear()


def on_the_card(engine: str, owner: Identity) -> dict[str, Any]:
    return {"engine": engine, "memory": "vram", "pids": [owner.pid], "memory_mib": 100.0}


def test_memory_that_comes_back_a_moment_after_the_end_is_waited_for(
    routed: dict[str, Routed], bystander: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = LateCard(bystander, looks=5)
    monkeypatch.setitem(memory.MEMORIES, "vram", lambda: card)
    row = add_engine(bystander, identify(), **on_the_card("one", bystander))
    assert stop_engines(lambda _text: None, force=True) == []
    assert state_of(row) == "gone"
    assert routed["one"].closed


def test_memory_that_never_comes_back_keeps_no_router_of_a_dead_process(
    routed: dict[str, Routed], bystander: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("governor.unloading.BACK_SECONDS", 0.05)
    card = LateCard(bystander, looks=float("inf"))
    monkeypatch.setitem(memory.MEMORIES, "vram", lambda: card)
    add_engine(bystander, identify(), **on_the_card("one", bystander))
    assert stop_engines(lambda _text: None, force=True) == []
    assert routed["one"].closed


def test_what_one_engine_does_not_give_back_keeps_no_other_engine(routed: dict[str, Routed]) -> None:
    add_engine(None, None, engine="one", state="unloading", stuck_at=datetime.now(UTC))
    assert stop_engines(lambda _text: None, force=True) == ["engine of m at 512 tokens"]
    assert {name: engine.closed for name, engine in routed.items()} == {"one": False, "two": True}


def test_without_force_only_the_engines_that_a_living_agent_uses_stay(
    routed: dict[str, Routed], bystander: Identity
) -> None:
    add_engine(bystander, identify(), engine="one")
    assert stop_engines(lambda _text: None, force=False) == []
    assert life(bystander) is Life.ALIVE
    assert {name: engine.closed for name, engine in routed.items()} == {"one": False, "two": True}


def test_an_engine_that_cannot_be_closed_is_named_and_keeps_no_other(routed: dict[str, Routed]) -> None:
    routed["one"].stuck = True
    assert stop_engines(lambda _text: None, force=True) == ["what the engine one runs beside its models"]
    assert routed["two"].closed


def test_engine_row_of_a_dead_process_is_only_closed(hotdesk_home: Home) -> None:
    row = add_engine(DEAD, None)
    said: list[str] = []
    assert stop_engines(said.append, force=False) == []
    assert state_of(row) == "gone"
    assert said == []


def test_down_ends_a_foreground_up_first(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys\nfrom deployments.up import Stopped, stop_signals\nfrom deployments.up_lock import up_lock\n"
        "from governor.settings import home\nimport time\n"
        "try:\n  with up_lock(home()), stop_signals():\n    print('up', flush=True)\n    time.sleep(60)\n"
        "except Stopped:\n  print('stopped', flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout and child.stdout.readline() == "up\n"
    start_service(hotdesk_home, "worker", SLEEP, env={})
    said: list[str] = []
    assert run_down(said.append) == 0
    assert child.communicate(timeout=10)[0] == "stopped\n"
    assert said[0] == f"stopping hotdesk up (pid {child.pid})"
    assert said[-1] == "everything is stopped"
    assert services(hotdesk_home) == []


def test_what_cannot_be_stopped_is_named_and_the_status_is_1(
    hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_service(hotdesk_home, "worker", SLEEP, env={})
    with monkeypatch.context() as patched:
        patched.setattr(down, "stop_all", lambda _where, names, **_options: list(names))
        said: list[str] = []
        assert run_down(said.append) == 1
    assert said[-1] == "still running: worker"
    stop_everything(hotdesk_home, lambda _text: None)


@pytest.mark.parametrize(("service", "told"), [("server", True), ("fleet-worker", False)])
def test_the_database_and_its_password_are_for_the_server_alone(
    service: str, told: bool, hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_PASSWORD", "of-the-database")
    row = start_service(hotdesk_home, service, SLEEP, env={})
    try:
        environ = (Path("/proc") / str(row.pid) / "environ").read_bytes()
        assert (b"of-the-database" in environ) is told
    finally:
        assert stop_service(hotdesk_home, service, grace_seconds=1.0)
