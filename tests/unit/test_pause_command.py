"""`hotdesk pause` and `hotdesk resume`: what a person says, what that does, and what they are told."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deployments.cli import app
from deployments.pause import Wishes, duration, lines_meant, run_pause, run_resume
from governor import pauses
from governor.errors import BadInput
from governor.policy.pausing import GOVERNOR, PERSON, Pause, clock
from governor.settings import Home
from governor.state.residents import Resident
from governor.state.sessions import reading, transaction
from tests.unit.test_line import Clock


def in_force() -> list[Pause]:
    with reading() as session:
        return pauses.in_force(session, datetime.now(UTC))


def pause(wishes: Wishes | None = None) -> str:
    return "\n".join(run_pause(wishes or Wishes()))


def resume(line: str | None = None) -> str:
    return "\n".join(run_resume(line))


def hotdesk(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86_400),
        (" 1D2H3M4S ", 93_784),
        ("9999d", 9999 * 86_400),
    ],
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: int):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "2 h", "-1h", "0s", "0h0m", "1.5h", "h", "soon", "1m1h", "99999d", "²h"])
def test_what_is_no_duration_is_refused_with_examples_and_pauses_nothing(hotdesk_home: Home, text: str):
    with pytest.raises(BadInput, match="90s, 30m, 2h, 1h30m or 1d") as refused:
        pause(Wishes(how_long=text))
    assert refused.value.means == "Nothing was paused."
    assert in_force() == []


@pytest.mark.parametrize(("named", "lines"), [(None, ["gpu"]), ("cpu", ["cpu"]), ("all", ["gpu", "cpu"])])
def test_the_lines_of_the_gpu_are_meant_unless_one_is_named(hotdesk_home: Home, named: str | None, lines: list[str]):
    assert lines_meant(named) == lines
    pause(Wishes(line=named))
    assert {p.line for p in in_force()} == set(lines)


@pytest.mark.parametrize("act", [lambda: pause(Wishes(line="tpu")), lambda: resume("tpu")])
def test_a_line_that_is_none_is_refused_with_those_that_are(hotdesk_home: Home, act):
    with pytest.raises(BadInput, match="gpu, cpu, or all"):
        act()
    assert in_force() == []


def test_it_says_until_when_and_how_to_resume(hotdesk_home: Home):
    said = pause(Wishes(how_long="2h", why="a  game.\n"))
    [stands] = in_force()
    assert stands.until is not None
    assert said.startswith(
        f"The gpu line is paused until {clock(stands.until, stands.since)}, for 2 h: nobody sits down"
    )
    assert said.endswith("`hotdesk resume` opens the line before that.")
    assert (stands.by, stands.reason, stands.evict) == (PERSON, "a game", False)


def test_without_a_time_it_has_no_end_and_a_second_word_replaces_the_first(hotdesk_home: Home):
    pause(Wishes(how_long="2h", evict=True))
    assert "with no end set" in pause()
    [stands] = in_force()
    assert (stands.until, stands.evict, stands.reason) == (None, False, "it is wanted for something else")


def test_who_sits_is_named_with_how_long_it_may_still_sit(hotdesk_home: Home):
    desk = Clock()
    desk.s = time.monotonic()
    place = desk.take("digest/news")
    grant = desk.sit(place)
    said = pause()
    assert "digest/news (pid " in said
    assert "it keeps its seat until it stands up, " in said and " s more at most." in said
    assert desk.line.is_current(grant)


def test_with_now_who_sits_is_ended_and_that_is_said(hotdesk_home: Home):
    asked: list[tuple[str, str]] = []

    def end(line: str, reason: str) -> list[str]:
        asked.append((line, reason))
        return [f"Ended whoever sat at {line}."]

    said = list(run_pause(Wishes(line="all", why="a game", now=True), end_holders=end))
    assert asked == [("gpu", "a game"), ("cpu", "a game")]
    assert said[1:3] == ["Ended whoever sat at gpu.", "Ended whoever sat at cpu."]


def test_with_evict_idle_models_leave_and_what_is_free_is_told(hotdesk_home: Home):
    row = {"engine": "embedded", "context_tokens": 2048, "state": "resident", "memory_mib": 250.0}
    with transaction() as session:
        session.add_all([Resident(model="a", line="gpu", **row), Resident(model="b", line="cpu", **row)])
    said = pause(Wishes(evict=True))
    assert "a (250 MiB) left memory." in said
    assert "ram: " in said and "MiB are free now." in said
    with reading() as session:
        assert [r.model for r in session.query(Resident).filter(Resident.state != "gone")] == ["b"]


def test_resume_ends_every_pause_or_that_of_one_line(hotdesk_home: Home):
    pause(Wishes(line="all"))
    assert resume("cpu") == "The cpu line is open again; the first in it were called."
    assert [p.line for p in in_force()] == ["gpu"]
    assert "gpu line is open again" in resume()
    assert resume() == "Nothing is paused."
    assert resume("gpu") == "The gpu line is not paused."


def test_resume_ends_the_governors_pause_too_and_says_that_it_may_come_back(hotdesk_home: Home):
    now = datetime.now(UTC)
    pauses.pause(["gpu"], by=GOVERNOR, reason="vram is full", until=now + timedelta(minutes=15), now=now)
    said = resume()
    assert said.startswith("The gpu line is open again")
    assert "by the governor: vram is full. It may pause again while the pressure lasts." in said
    assert in_force() == []


def test_a_line_that_the_profile_has_no_more_can_still_be_opened(hotdesk_home: Home):
    pauses.pause(["gpu:7"], by=PERSON, reason="a game", until=None, now=datetime.now(UTC))
    assert "gpu:7 line is open again" in resume("gpu:7")


def test_the_commands_need_no_server_and_no_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "none"))
    assert hotdesk("resume").output == "Nothing is paused.\n"
    paused = hotdesk("pause", "--for", "30m", "--line", "all", "--why", "a game", "--evict")
    assert paused.exit_code == 0
    assert "for 30 min" in paused.output
    assert [p.evict for p in in_force()] == [True, True]
    assert hotdesk("resume").exit_code == 0
    wrong = hotdesk("pause", "--for", "90")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
    assert "-> Give a number with its unit" in wrong.stderr


def test_a_pause_by_hand_leaves_a_longer_one_of_the_governor_alone(hotdesk_home: Home):
    now = datetime.now(UTC)
    governors = Pause("gpu", GOVERNOR, now, now + timedelta(minutes=15), "vram is full")
    pauses.pause(["gpu"], by=GOVERNOR, reason=governors.reason, until=governors.until, now=now)
    pause(Wishes(how_long="1m"))
    assert [replace(p, since=now) for p in in_force() if p.by == GOVERNOR] == [governors]
