"""Rows of calls are found by run and by request without looking through all of them, and are not kept for ever."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from governor import decided
from governor.sensors import resident_speed
from governor.settings import Home
from governor.state.models import Decision
from governor.state.sessions import reading, transaction
from governor.tidying import tidy_lines
from tests.unit.decision_rows import NOW, call

pytestmark = pytest.mark.usefixtures("hotdesk_home")


def keep(*ages: timedelta) -> None:
    with transaction() as session:
        session.add_all([call(at=NOW - age, request_id=f"r{number}") for number, age in enumerate(ages)])


def left() -> list[str]:
    with reading() as session:
        return list(session.scalars(select(Decision.request_id).order_by(Decision.id)))


def test_calls_are_forgotten_when_nobody_asks_for_them_any_more():
    keep(decided.KEEP + timedelta(days=1), decided.KEEP + timedelta(seconds=1), decided.KEEP, timedelta(days=1))
    assert (decided.prune(NOW), decided.prune(NOW)) == (2, 0)
    assert left() == ["r2", "r3"]


def test_they_are_forgotten_in_portions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decided, "PRUNE_MOST", 2)
    keep(*[decided.KEEP + timedelta(days=1)] * 5, timedelta(0))
    assert [decided.prune(NOW) for _ in range(4)] == [2, 2, 1, 0]
    assert left() == ["r5"]


def test_nothing_that_somebody_looks_at_is_forgotten():
    assert decided.KEEP > resident_speed.HISTORY
    keep(timedelta(0), decided.KEEP + timedelta(days=1))  # the clock was set back in between
    assert decided.prune(NOW) == 1
    assert left() == ["r0"]


def test_the_governor_forgets_them_when_it_tidies_up():
    today = NOW - datetime.now(UTC)
    keep(today + decided.KEEP + timedelta(days=1), today)
    assert tidy_lines([]) == []
    assert left() == ["r1"]


@pytest.mark.parametrize(
    ("question", "index"),
    [
        ("flow_run_id = 'x' ORDER BY id", "decisions_by_run"),
        ("request_id IN ('a', 'b') ORDER BY id", "decisions_by_request"),
    ],
)
def test_the_calls_of_a_run_and_of_a_request_are_found_by_an_index(question: str, index: str, hotdesk_home: Home):
    keep(timedelta(0))
    with sqlite3.connect(hotdesk_home.database) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN SELECT * FROM decisions WHERE {question}").fetchall()
    assert index in str(plan) and "SCAN decisions" not in str(plan)
