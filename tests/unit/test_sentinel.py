"""The watch beside a seat: when it looks and when it glances, and its own failures."""

from collections.abc import Callable
from datetime import datetime
from itertools import count

import pytest

from governor import sentinel
from governor.errors import StateUnavailable
from governor.governing import Watch
from governor.policy.facts import Reading
from governor.policy.rules import Rules
from governor.sentinel import Sentinel
from governor.settings import Home
from governor.standing import keep_rules, standing
from governor.state.models import GovernorTick
from governor.state.sessions import reading


class FakeStop:
    """FAKE: time passes as the sentinel waits; it says stop after so many waits."""

    def __init__(self, waits: int) -> None:
        self.waits, self.at_s = waits, 1000.0
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        self.at_s += seconds
        return len(self.seconds) > self.waits


class FakeSenses:
    """FAKE: what a card with so much free would say, by look and by glance."""

    def __init__(self, free: Callable[[], float]) -> None:
        self.free = free
        self.looks: list[float] = []
        self.glances: list[float] = []

    def look(self, now: datetime, clock_s: float, costly: bool) -> list[Reading]:
        self.looks.append(clock_s)
        return self._card()

    def glance(self, clock_s: float) -> list[Reading]:
        self.glances.append(clock_s)
        return self._card()

    def _card(self) -> list[Reading]:
        free = self.free()
        others = Reading(name="vram_others_mib", value=6000 - free, unit="MiB")
        return [Reading(name="vram_free_mib", value=free, unit="MiB"), others]


def run(monkeypatch: pytest.MonkeyPatch, senses: FakeSenses, waits: int, **how) -> FakeStop:
    stop = FakeStop(waits)
    monkeypatch.setattr(sentinel.time, "monotonic", lambda: stop.at_s)
    Sentinel(lambda: Watch("sentinel", senses.look, senses.glance, **how)).run(stop)
    return stop


def test_while_all_is_calm_it_looks_every_two_seconds_and_glances_in_between(hotdesk_home: Home, monkeypatch):
    senses = FakeSenses(lambda: 3000.0)
    stop = run(monkeypatch, senses, 45)
    assert stop.seconds[0] == sentinel.FIRST_LOOK_SECONDS
    assert len(senses.looks) == 3
    assert len(senses.glances) == 45 - 3
    assert senses.looks[1] - senses.looks[0] == pytest.approx(2.0, abs=0.11)
    with reading() as session:
        assert session.query(GovernorTick).count() == 0  # nothing was done, so nothing is written down


def test_a_card_that_fills_is_seen_between_two_looks(hotdesk_home: Home, monkeypatch):
    steps = count()
    senses = FakeSenses(lambda: max(0.0, 3000.0 - 250.0 * max(0, next(steps) - 3)))
    run(monkeypatch, senses, 19)
    assert standing().rung == "trim"  # nothing is in memory that could leave
    with reading() as session:
        [row] = session.query(GovernorTick).all()
    assert (row.by, row.rung) == ("sentinel", "trim")
    assert row.readings["vram_free_mib"] <= 200


def test_the_operators_rules_reach_it(hotdesk_home: Home, monkeypatch):
    keep_rules(Rules(marks=()))
    run(monkeypatch, FakeSenses(lambda: 10.0), 30)
    assert standing().rung == "normal"


@pytest.mark.parametrize("error", [StateUnavailable("The disk is full.", remedy=""), OSError("gone"), KeyError("x")])
def test_its_failures_are_its_own_and_it_tries_again(hotdesk_home: Home, monkeypatch, error: Exception):
    def broken() -> float:
        raise error

    stop = run(monkeypatch, FakeSenses(broken), 3)
    assert stop.seconds[1:] == [sentinel.MOST_LOOK_SECONDS] * 3


def test_a_glance_never_puts_off_the_next_look(hotdesk_home: Home, monkeypatch):
    steps = count()
    senses = FakeSenses(lambda: 100.0 + next(steps) % 2)  # bad, and it stays so
    run(monkeypatch, senses, 100)
    assert 5 <= len(senses.looks) <= 12


def test_what_it_looks_with_is_let_go_of(hotdesk_home: Home, monkeypatch):
    closed = []
    senses = FakeSenses(lambda: 3000.0)
    run(monkeypatch, senses, 10, close=lambda: closed.append(True))
    assert closed == [True]
