"""Real processes at one ledger: exactly as many calls as the provider gives, whoever races and whoever is killed.

The names of the points are read from the source, so a point that is new has no scene here and fails.
"""

import multiprocessing
import os
import re
import signal
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from governor import decided, ledger, tier_states
from governor.errors import TierShut
from governor.failpoints import install
from governor.ledger import KEEP, Wish
from governor.policy.requests import Allowance, CloudModel, Span
from governor.settings import Home
from governor.state.sessions import transaction
from tests.crash.test_every_failpoint import SOURCES, STEPS
from tests.unit.decision_rows import call

ENDS_SECONDS = 60.0
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
RACERS, CALLS = 8, 60
WISH = Wish(tokens=10, due=True)
CHANGES = ("reserve", "settle", "give_back", "prune_uses", "prune_decisions", "tier_state")
NAMED_IN = ("ledger.py", "tier_states.py", "decided.py")
forking = multiprocessing.get_context("fork")


def model(amount: int = CALLS, *, unit: str = "requests", span: Span = Span.DAY) -> CloudModel:
    allowance = Allowance(unit=unit, span=span, amount=amount)
    return CloudModel(
        name="groq/big",
        calls="groq/big",
        context_tokens=8192,
        parameters_billion=70,
        free=True,
        allowances=(allowance,),
    )


def calls_until_shut(tier: CloudModel, now: datetime, *, at_most: int = 10_000) -> int:
    """How many calls it gets; each of them is one that the provider would count."""
    for made in range(at_most):
        try:
            mine = ledger.reserve(tier, WISH, now=now)
        except TierShut:
            return made
        ledger.settle(mine, tokens=10, usd=0.0, now=now)
    return at_most


def race(tier: CloudModel, clocks: list[datetime]) -> list[int]:
    """What each of several processes gets that begin at once, each with a clock of its own."""
    together = forking.Barrier(len(clocks))
    wires = [forking.Pipe(duplex=False) for _ in clocks]

    def run(start: Barrier, said: Callable[[int], None], clock: datetime) -> None:
        start.wait(ENDS_SECONDS)
        said(calls_until_shut(tier, clock))

    racers = [
        forking.Process(target=run, args=(together, wire[1].send, clock))
        for wire, clock in zip(wires, clocks, strict=True)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(ENDS_SECONDS)
    assert [racer.exitcode for racer in racers] == [0] * len(racers)
    return [wire[0].recv() for wire in wires]


@pytest.mark.parametrize(
    "tier", [model(), model(10 * CALLS, unit="tokens"), model(span=Span.FIVE_HOURS)], ids=["day", "tokens", "sliding"]
)
def test_of_many_processes_that_race_for_the_last_calls_exactly_as_many_win(tier: CloudModel, hotdesk_home: Home):
    assert sum(race(tier, [NOON] * RACERS)) == CALLS
    assert calls_until_shut(tier, NOON) == 0


def test_a_clock_that_jumps_back_an_hour_gives_no_process_a_call_more(hotdesk_home: Home):
    clocks = [NOON - timedelta(hours=1) * (number % 2) for number in range(RACERS)]
    assert sum(race(model(), clocks)) == CALLS


def points_in_the_source() -> list[str]:
    text = "\n".join(path.read_text() for path in SOURCES if path.name in NAMED_IN)
    return sorted(
        f"{change}.{step}" for change in set(re.findall(r"\.change\(\s*\"([a-z_]+)\"", text)) for step in STEPS
    )


def dies_at(point: str, act: Callable[[], object]) -> None:
    """Run by the victim."""

    def hook(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    install(hook)
    act()


def killed_at(point: str, act: Callable[[], object]) -> None:
    victim = forking.Process(target=dies_at, args=(point, act))
    victim.start()
    victim.join(ENDS_SECONDS)
    assert victim.exitcode == -signal.SIGKILL


def reserves() -> int:
    """It dies before it could make its call: lost at most."""
    return 0 if ledger.reserve(model(), WISH, now=NOON) else 1


def settles() -> None:
    ledger.settle(ledger.reserve(model(), WISH, now=NOON), tokens=3, usd=0.0, now=NOON)


def gives_back() -> None:
    ledger.give_back(ledger.reserve(model(), WISH, now=NOON))


# What the victim does, and how many calls it made before its death.
SCENES: dict[str, tuple[Callable[[], object], int]] = {
    "reserve": (reserves, 0),
    "settle": (settles, 1),
    "give_back": (gives_back, 0),
}


def counts_agree(where: Path) -> bool:
    by_call = "SELECT count(*), total(tokens) FROM allowance_uses WHERE state <> 'returned'"
    by_hour = "SELECT total(requests), total(tokens) FROM allowance_hours"
    with sqlite3.connect(where) as db:
        return db.execute(by_call).fetchone() == db.execute(by_hour).fetchone()


@pytest.mark.parametrize("point", [point for point in points_in_the_source() if point.partition(".")[0] in SCENES])
def test_whoever_dies_there_no_call_is_made_that_the_provider_does_not_give(point: str, hotdesk_home: Home):
    act, made = SCENES[point.partition(".")[0]]
    killed_at(point, act)
    assert counts_agree(hotdesk_home.database)
    others = calls_until_shut(model(), NOON)
    assert CALLS - 1 <= made + others <= CALLS
    assert counts_agree(hotdesk_home.database)


@pytest.mark.parametrize("step", STEPS)
def test_whoever_dies_while_it_forgets_old_calls_takes_none_with_it_that_counts(step: str, hotdesk_home: Home):
    for moment in (NOON - KEEP - timedelta(days=1), NOON):
        ledger.reserve(model(), WISH, now=moment)
    killed_at(f"prune_uses.{step}", lambda: ledger.prune(NOON))
    assert ledger.prune(NOON) == (0 if step == "done" else 1)
    assert calls_until_shut(model(), NOON) == CALLS - 1
    assert counts_agree(hotdesk_home.database)


@pytest.mark.parametrize("step", STEPS)
def test_whoever_dies_while_it_forgets_old_decisions_takes_all_of_them_or_none(step: str, hotdesk_home: Home):
    with transaction() as session:
        session.add_all([call(at=NOON - decided.KEEP - timedelta(days=1)), call(at=NOON)])
    killed_at(f"prune_decisions.{step}", lambda: decided.prune(NOON))
    assert decided.prune(NOON) == (0 if step == "done" else 1)


@pytest.mark.parametrize("step", STEPS)
def test_whoever_dies_while_it_closes_a_tier_leaves_it_closed_or_open(step: str, hotdesk_home: Home):
    until = NOON + timedelta(hours=1)

    def close() -> None:
        tier_states.close("groq/big", until, closed_for="rate", why="too many", now=NOON)

    killed_at(f"tier_state.{step}", close)
    assert bool(tier_states.closed(NOON)) is (step == "done")
    close()
    assert calls_until_shut(model(), NOON) == 0


def test_every_point_of_the_ledger_has_a_scene():
    assert {point.partition(".")[0] for point in points_in_the_source()} == set(CHANGES)
