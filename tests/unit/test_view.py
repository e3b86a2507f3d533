"""The same snapshot as panels for a terminal and as one line per event for a log."""

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from deployments.screen import LiveScreen, Screen
from deployments.status import InMemory, Result, Running, Sitting, Snapshot, Waiting
from deployments.view import events, render
from governor.policy.pausing import Pause
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import transaction

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EMPTY = Snapshot(at=NOW, home="/state", profile="cpu-only", rung="normal")


def result(agent: str, state: str, *, path: str | None = None, message: str | None = None) -> Result:
    return Result(agent, state, NOW, path, message, capped=True)


def full() -> Snapshot:
    return replace(
        EMPTY,
        services=(Running("server", "http://127.0.0.1:4200", 10, True), Running("worker", None, 11, False)),
        desks=(
            Sitting(
                "gpu", 0, "held", 12, "digest/a-rather-long-name-of-an-agent-that-goes-on", "smollm2", 99, 3.0, True
            ),
            Sitting("cpu", 0, "free", 4, None, None, None, 0.0, True),
        ),
        waiting=tuple(Waiting("gpu", n, f"triage/mail-{n}", "smollm2", 2.0, 600.0, True) for n in range(1, 12)),
        in_memory=(InMemory(1, "SmolLM2-135M-Instruct", 4096, "embedded", "gpu", "resident", 77, 251.4, True, 0.0),),
        counts={"written": 5, "could_not": 1, "skipped": 2, "failed": 0, "running": 1},
        latest=(
            result("digest/news", "written", path="/state/out/digest/" + "x" * 120 + ".md"),
            result("triage/mail", "skipped", message="left the [gpu] line\nafter 600 s"),
        ),
        down=("worker is down",),
        pauses=(Pause("gpu", "person", NOW, None, "a game [not markup] that goes on for quite a while, as games do"),),
        held="9 wait: 14 of 14 run",
    )


def drawn(look: Snapshot, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render(look, footer="Ctrl-C stops"))
    return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


@pytest.mark.parametrize("width", [80, 60, 200])
@pytest.mark.parametrize("look", [EMPTY, full()], ids=["empty", "full"])
def test_view_keeps_to_the_width(look: Snapshot, width: int) -> None:
    assert max(len(line) for line in drawn(look, width).splitlines()) <= width


def test_view_shows_every_part_at_80_columns() -> None:
    said = drawn(full(), 80)
    for part in ("at the desk", "fence 12", "in line", "and 5 more", "251 MiB", "in use", "done 5", "skipped 2"):
        assert part in said
    assert "left the [gpu] line after 600 s" in said
    assert "worker is down" in said
    assert "the gpu line is paused since 12:00 UTC" in said


def test_view_fits_a_screen_of_40_lines() -> None:
    assert len(drawn(full(), 80).splitlines()) <= 40


def test_events_name_what_is_new_only() -> None:
    started = replace(EMPTY, latest=(result("digest/news", "running"),))
    ended = replace(EMPTY, latest=(result("digest/news", "written", path="/state/out/a.md"),), rung="trim")
    assert events(None, EMPTY) == []
    assert events(EMPTY, started) == ["digest/news started"]
    assert events(started, started) == []
    assert events(started, ended) == ["digest/news wrote /state/out/a.md", "governor: normal -> trim"]
    skipped = replace(EMPTY, latest=(result("digest/news", "skipped", message="after 5 s"),))
    assert events(EMPTY, skipped) == ["digest/news skipped: after 5 s"]


def test_events_come_oldest_first_and_say_what_went_down() -> None:
    look = replace(EMPTY, latest=(result("b", "running"), result("a", "running")), down=("server is down",))
    assert events(EMPTY, look) == ["down: server is down", "a started", "b started"]


@pytest.mark.usefixtures("hotdesk_home")
def test_plain_screen_prints_only_what_happens_after_its_first_look() -> None:
    screen = Screen(Console(file=io.StringIO(), width=80))
    finish("digest/before")
    with screen.live("Ctrl-C stops"):
        finish("digest/after")
        screen.show()
        screen.show()
    said = screen.console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "digest/before" not in said
    assert said.count("digest/after wrote") == 1
    assert "Ctrl-C stops" in said


def test_live_screen_draws_panels_and_keeps_lines_above(hotdesk_home: Home) -> None:
    screen = LiveScreen(Console(file=io.StringIO(), width=80, force_terminal=True, height=50))
    with screen.live():
        screen.say("a step [not markup]")
        screen.show()
    said = screen.console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "a step [not markup]" in said
    assert "at the desk" in said


def finish(agent: str) -> None:
    now = datetime.now(UTC)
    with transaction() as session:
        session.add(AgentRun(agent=agent, state="written", started_at=now, ended_at=now, output_path="x.md"))
