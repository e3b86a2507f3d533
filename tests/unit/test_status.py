"""`hotdesk status` reads rows and processes, with no server: what it finds and how it says so."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.bootstrap_names import WORKER
from deployments.status import as_json, day_start, short_path, snapshot, with_server
from deployments.view import sentences
from governor import pauses
from governor.processes import Identity, identify
from governor.settings import Home
from governor.state.models import AgentRun, Service, Slot, Ticket
from governor.state.residents import Resident
from governor.state.sessions import remember, transaction

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DEAD = Identity("another boot", "", 1, 1)


def ticket(
    agent: str, state: str, *, owner: Identity | None = None, age_seconds: float = 5.0, line: str = "gpu"
) -> Ticket:
    made = Ticket(
        uuid=agent,
        line=line,
        agent=agent,
        state=state,
        model="smollm2",
        patience_seconds=600.0,
        taken_at=NOW - timedelta(seconds=age_seconds),
    )
    made.identity = owner or identify()
    return made


def run(
    agent: str, state: str, *, minutes_ago: float, owner: Identity | None = None, output: str | None = None
) -> AgentRun:
    made = AgentRun(
        agent=agent,
        state=state,
        started_at=NOW - timedelta(minutes=minutes_ago),
        ended_at=None if state == "running" else NOW - timedelta(minutes=minutes_ago),
        output_path=output,
        message="because" if state != "written" else None,
    )
    made.identity = owner or identify()
    return made


def seat_at(line: str, seated: Ticket, *, fence: int, owner: Identity | None = None) -> Slot:
    slot = Slot(
        line=line, index=0, state="held", fence=fence, ticket_id=seated.id, granted_at=NOW - timedelta(seconds=42)
    )
    slot.identity = owner or identify()
    return slot


def add(*rows: object) -> None:
    with transaction() as session:
        session.add_all(rows)


def test_without_a_state_folder_it_says_so_and_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "none"))
    look = snapshot(now=NOW)
    assert "hotdesk up" in look.down[0]
    assert not (tmp_path / "none").exists()
    assert json.loads(as_json(look))["desks"] == []


@pytest.mark.usefixtures("hotdesk_home")
def test_holder_is_shown_with_fence_and_seconds_and_the_line_with_places() -> None:
    seated = ticket("digest/news", "seated")
    add(seated)
    add(
        seat_at("gpu", seated, fence=7),
        Slot(line="cpu", index=0),
        ticket("digest/dead", "waiting", owner=DEAD),
        ticket("triage/mail", "waiting"),
        ticket("extract/bills", "asking"),
        ticket("log_watch/web", "waiting", line="cpu"),
        ticket("digest/gone", "left"),
    )
    look = snapshot(now=NOW)
    gpu, cpu = look.desks
    assert (gpu.agent, gpu.fence, gpu.seconds, gpu.alive) == ("digest/news", 7, 42.0, True)
    assert (cpu.line, cpu.agent, cpu.state) == ("cpu", None, "free")
    places = {waiting.agent: (waiting.line, waiting.place, waiting.alive) for waiting in look.waiting}
    assert places == {
        "digest/dead": ("gpu", 0, False),
        "triage/mail": ("gpu", 1, True),
        "extract/bills": ("gpu", 2, True),
        "log_watch/web": ("cpu", 1, True),
    }


@pytest.mark.usefixtures("hotdesk_home")
def test_holder_whose_process_died_is_marked() -> None:
    seated = ticket("digest/news", "seated")
    add(seated)
    add(seat_at("gpu", seated, fence=1, owner=DEAD))
    look = snapshot(now=NOW)
    assert not look.desks[0].alive
    assert any("process died" in line for line in sentences(look))


def resident(state: str, owner: Identity | None, claimed_by: int | None = None) -> Resident:
    row = Resident(
        engine="embedded",
        model="smollm2",
        context_tokens=4096,
        line="gpu",
        state=state,
        claimed_by=claimed_by,
        api_key="secret",
        memory_mib=250.0,
        last_used_at=NOW - timedelta(seconds=30),
    )
    row.identity = owner
    return row


@pytest.mark.usefixtures("hotdesk_home")
def test_memory_lists_living_engines_and_never_their_keys() -> None:
    seated = ticket("digest/news", "seated")
    add(seated)
    add(
        resident("resident", identify(), claimed_by=seated.id),
        resident("resident", identify()),
        resident("resident", DEAD),
        resident("gone", identify()),
        resident("resident", None),
    )
    look = snapshot(now=NOW)
    assert [model.busy for model in look.in_memory] == [True, False, False]
    assert look.in_memory[1].idle_seconds == 30.0
    assert "secret" not in as_json(look)


@pytest.mark.usefixtures("hotdesk_home")
def test_counts_are_todays_and_a_run_whose_process_died_counts_as_failed() -> None:
    add(
        run("digest/news", "written", minutes_ago=1, output="/elsewhere/news.md"),
        run("triage/mail", "could_not", minutes_ago=2),
        run("extract/bills", "skipped", minutes_ago=3),
        run("log_watch/web", "running", minutes_ago=4),
        run("log_watch/db", "running", minutes_ago=5, owner=DEAD),
        run("digest/old", "written", minutes_ago=60 * 50),
    )
    look = snapshot(now=NOW, since=NOW - timedelta(hours=1))
    assert look.counts == {"written": 1, "could_not": 1, "skipped": 1, "failed": 1, "running": 1}
    assert [result.agent for result in look.latest][:2] == ["digest/news", "triage/mail"]
    assert any("could-not: because" in line for line in sentences(look))
    assert any("/elsewhere/news.md" in line for line in sentences(look))


@pytest.mark.usefixtures("hotdesk_home")
def test_service_that_died_is_named_with_the_remedy() -> None:
    alive = Service(name="server", address="http://127.0.0.1:4200", started_at=NOW)
    alive.identity = identify()
    dead = Service(name="worker", started_at=NOW)
    dead.identity = DEAD
    add(alive, dead)
    remember("rung", "trim")
    look = snapshot(now=NOW)
    assert [(service.name, service.alive) for service in look.services] == [("server", True), ("worker", False)]
    assert len(look.down) == 1
    assert "worker is down" in look.down[0]
    assert look.rung == "trim"


@pytest.mark.parametrize(("process", "held"), [(None, "9 wait: 14 of 14 run"), (DEAD, "")])
@pytest.mark.usefixtures("hotdesk_home")
def test_why_runs_wait_at_the_worker_is_said_while_it_lives(process: Identity | None, held: str) -> None:
    worker = Service(name=WORKER, started_at=NOW)
    worker.identity = process or identify()
    add(worker)
    remember("runs_held", "9 wait: 14 of 14 run")
    assert snapshot(now=NOW).held == held


@pytest.mark.usefixtures("hotdesk_home")
def test_json_names_every_part_and_times_are_iso() -> None:
    add(run("digest/news", "written", minutes_ago=1))
    look = json.loads(as_json(snapshot(now=NOW, since=NOW - timedelta(hours=1))))
    parts = {"at", "home", "profile", "rung", "services", "desks", "waiting", "in_memory", "counts", "latest", "down"}
    assert set(look) == parts | {"pauses", "held"}
    assert datetime.fromisoformat(look["latest"][0]["at"]).tzinfo is not None


@pytest.mark.usefixtures("hotdesk_home")
def test_a_pause_is_one_line_while_it_is_in_force() -> None:
    until = NOW + timedelta(hours=1)
    pauses.pause(["gpu"], by="person", reason="a game", until=until, evict=True, now=NOW)
    look = snapshot(now=NOW)
    [said] = [line for line in sentences(look) if "paused" in line]
    assert said.startswith("the gpu line is paused since 12:00 UTC until 13:00 UTC by a person: a game")
    [told] = json.loads(as_json(look))["pauses"]
    assert (told["line"], told["by"], told["reason"], told["evict"]) == ("gpu", "person", "a game", True)
    assert datetime.fromisoformat(told["until"]) == until
    assert snapshot(now=until).pauses == ()


def test_configured_server_that_does_not_answer_is_named(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOTDESK_PORT", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")  # port 9, discard: nobody answers there
    look = with_server(snapshot(now=NOW))
    assert "http://127.0.0.1:9/api does not answer" in look.down[-1]


def test_day_starts_at_local_midnight() -> None:
    start = day_start(NOW)
    assert (start.hour, start.minute) == (0, 0)
    assert timedelta(0) <= NOW - start < timedelta(hours=25)


def test_paths_are_shown_relative_to_the_state_folder(hotdesk_home: Home) -> None:
    assert short_path(str(hotdesk_home.out / "a.md")) == "out/a.md"
    assert short_path("/elsewhere/a.md") == "/elsewhere/a.md"
