"""A round on the server in use: who is paused when, what a round of some leaves alone, and how it fails."""

import io
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from rich.console import Console

from deployments import first_round, held_round, tour, up
from deployments.held_round import hold_round
from deployments.round_agents import Agent
from deployments.round_file import Round
from deployments.screen import Screen
from deployments.summary import Outcome
from deployments.up import Plan
from governor.errors import BadInput, NotReady
from governor.settings import Home

FLEET = [Agent("triage/inbox", uuid4(), True), Agent("digest/news", uuid4(), False)]


class FakeClient:
    """FAKE of Prefect's client: notes who is paused."""

    def __init__(self, done: list[str]) -> None:
        self.done = done

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def pause_deployment(self, deployment_id: Any) -> None:
        self.done += [f"pause {one.name}" for one in FLEET if one.deployment_id == deployment_id]


@pytest.fixture
def done(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in order; every run of the round wrote."""
    said: list[str] = []

    def run_round(_client: Any, fleet: list[Agent], _watch: Any) -> list[Outcome]:
        said.extend(f"run {one.name}" for one in fleet)
        return [Outcome(one.name, "written") for one in fleet]

    monkeypatch.setattr(held_round, "get_client", lambda **_: FakeClient(said))
    monkeypatch.setattr(held_round, "agents", lambda *_: FLEET)
    monkeypatch.setattr(first_round, "run_round", run_round)
    return said


def hold(*only: str) -> tuple[Round, list[str]]:
    return hold_round(Screen(Console(file=io.StringIO())), lambda: None, only)


def test_samples_are_paused_before_the_round_of_the_whole_fleet_which_is_done_then(done: list[str]) -> None:
    held, advice = hold()
    assert done == ["pause triage/inbox", "run triage/inbox", "run digest/news"]
    assert not first_round.is_due() and "triage/inbox" in " ".join(advice)
    assert len(held.outcomes) == 2 and held.began_at <= held.ended_at and held.up_at <= held.began_at


def test_a_round_of_some_is_no_first_round(done: list[str]) -> None:
    held, _ = hold("digest")
    assert done == ["pause triage/inbox", "run digest/news"]
    assert first_round.is_due() and held.only == ("digest",)


def test_a_later_round_of_some_leaves_schedules_as_they_are(done: list[str]) -> None:
    first_round.mark_done(datetime.now(UTC))
    assert hold("triage")[1] == []
    assert done == ["run triage/inbox"]


def test_a_later_round_of_the_whole_fleet_leaves_on_who_was_switched_on(done: list[str]) -> None:
    first_round.mark_done(datetime.now(UTC))
    assert hold()[1] == []
    assert done == ["run triage/inbox", "run digest/news"]


def test_an_agent_that_there_is_not_changes_nothing(done: list[str]) -> None:
    with pytest.raises(BadInput, match="called `triagge`"):
        hold("triagge")
    assert done == []


@pytest.mark.parametrize(
    ("plan", "round_of", "shows_tour"),
    [
        (Plan(once=True), (), True),
        (Plan(once=True, tour=False), (), False),
        (Plan(once=True, only=("digest",)), ("digest",), False),
        (Plan(only=("digest",)), ("digest",), False),
        (Plan(again=True), (), True),
        (Plan(), None, False),
    ],
)
def test_which_round_a_plan_has_once_the_first_was(
    hotdesk_home: Home,
    monkeypatch: pytest.MonkeyPatch,
    plan: Plan,
    round_of: tuple[str, ...] | None,
    shows_tour: bool,
) -> None:
    first_round.mark_done(datetime.now(UTC))
    held: list[Any] = []
    monkeypatch.setattr(held_round, "hold_round", lambda _show, _look, only: held.append(only) or (None, []))
    monkeypatch.setattr(held_round, "sum_up", lambda *_: 7)
    monkeypatch.setattr(tour, "run_tour", lambda _: held.append("tour"))
    monkeypatch.setattr(tour, "restore_budget", lambda: None)

    def stop(_seconds: float) -> None:
        raise up.Stopped

    monkeypatch.setattr(up.time, "sleep", stop)
    show = Screen(Console(file=io.StringIO()))
    with nullcontext() if plan.once else pytest.raises(up.Stopped):
        assert up._work(plan, hotdesk_home, show, frozenset(), "") == 7
    assert held == [*([] if round_of is None else [round_of]), *(["tour"] if shows_tour else [])]


def test_a_round_of_agents_that_there_are_not_is_refused_before_anything_starts(hotdesk_home: Home) -> None:
    with pytest.raises(BadInput, match="called `triagge`"):
        up.run_up(Plan(only=("inbox", "triagge")))
    assert list(hotdesk_home.logs.iterdir()) == []
    up.check_only(("inbox", "triage", "digest/news,log_watch"))


def test_a_server_that_does_not_answer_is_said(done: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> None:
        raise httpx.ReadTimeout("silent")

    monkeypatch.setattr(held_round, "agents", silent)
    with pytest.raises(NotReady, match="ReadTimeout"):
        hold()
