"""Which models will be used next, from rows: the schedule's word, the line's, and what has come already."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

from sqlalchemy import event

from governor import forecasting
from governor.policy import forecast
from governor.policy.facts import ModelSpec
from governor.settings import Home
from governor.state.models import Decision, Ticket
from governor.state.residents import ExpectedUse, LearnedFootprint
from governor.state.sessions import database, reading, remember, transaction

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
SPEC = ModelSpec(
    engine="embedded", model="a", source="a", line="cpu", context_tokens=2048, parameters_billion=1, expected_mib=100
)


def decided(agent: str, run: str, *models: str) -> None:
    with transaction() as session:
        for model in models:
            session.add(
                Decision(
                    at=NOW,
                    flow_run_id=run,
                    agent=agent,
                    kind="write",
                    tier="t",
                    engine="e",
                    model=model,
                    reason="",
                    verdict="verified",
                )
            )


def took_ticket(agent: str, model: str, at: datetime, state: str = "done") -> None:
    with transaction() as session:
        session.add(
            Ticket(
                uuid=f"{agent}{at}{model}",
                line="gpu",
                agent=agent,
                model=model,
                state=state,
                patience_seconds=60,
                taken_at=at,
            )
        )


def learned(model: str, mib: float = 100.0, place: str = "ram") -> None:
    with transaction() as session:
        session.merge(
            LearnedFootprint(
                engine="embedded",
                model=model,
                context_tokens=2048,
                cache_type="f16",
                engine_slots=1,
                place=place,
                loads=1,
                mean_mib=mib,
                highest_mib=mib,
                load_seconds=1.0,
                measured_at=NOW,
            )
        )


def ahead() -> list[tuple[str, int]]:
    with reading() as session:
        return [
            (use.model, round((use.at - NOW).total_seconds() / 60)) for use in forecasting.uses_ahead(session, now=NOW)
        ]


def test_an_agent_foretells_the_models_of_its_last_run_in_their_order(hotdesk_home: Home):
    decided("x/old", "1", "gone")
    decided("x/old", "2", "b", "a", "b")
    runs = [("x/old", NOW + timedelta(minutes=10)), ("x/new", NOW + timedelta(minutes=1))]
    assert forecasting.keep(runs, now=NOW) == 2
    assert ahead() == [("b", 10), ("a", 10)]


def test_a_new_look_replaces_the_one_before(hotdesk_home: Home):
    decided("x/a", "1", "a")
    forecasting.keep([("x/a", NOW + timedelta(minutes=10))], now=NOW)
    forecasting.keep([("x/a", NOW + timedelta(minutes=20))], now=NOW)
    assert ahead() == [("a", 20)]
    forecasting.keep([], now=NOW)
    assert ahead() == []


def test_what_came_already_is_not_expected_once_more_and_what_is_late_still_is(hotdesk_home: Home):
    for agent, model in (("x/came", "a"), ("x/late", "b"), ("x/lost", "c")):
        decided(agent, "1", model)
    two_minutes_ago = NOW - timedelta(minutes=2)
    forecasting.keep(
        [("x/came", two_minutes_ago), ("x/late", two_minutes_ago), ("x/lost", NOW - timedelta(hours=1))], now=NOW
    )
    took_ticket("x/came", "a", NOW - timedelta(minutes=1))
    took_ticket("x/late", "b", NOW - timedelta(hours=1))
    assert ahead() == [("b", -2)]


def test_what_a_run_needs_after_its_first_ticket_is_still_foretold(hotdesk_home: Home):
    decided("x/both", "1", "sorter", "writer")
    forecasting.keep([("x/both", NOW)], now=NOW)
    took_ticket("x/both", "sorter", NOW, "seated")
    assert ahead() == [("writer", 0)]


def test_those_in_line_are_used_now(hotdesk_home: Home):
    decided("x/a", "1", "a")
    forecasting.keep([("x/a", NOW + timedelta(minutes=10))], now=NOW)
    took_ticket("y/b", "b", NOW, "waiting")
    with reading() as session:
        found = forecasting.next_uses(session, now=NOW)
    assert found == {"a": NOW + timedelta(minutes=10), "b": NOW}


def test_the_line_is_always_believed_and_the_schedule_once_it_earned_it(hotdesk_home: Home):
    for model in ("a", "b"):
        learned(model)
    decided("x/a", "1", "a")
    forecasting.keep([("x/a", NOW + timedelta(minutes=10))], now=NOW)
    took_ticket("y/b", "b", NOW, "waiting")
    assert forecasting.coming_for(SPEC, now=NOW).models == ("b",)
    assert set(forecasting.coming_for(SPEC, now=NOW).sizes) == {"a", "b"}


def test_the_schedule_is_believed_once_it_foretold_some_uses(hotdesk_home: Home):
    for model in ("a", "b"):
        learned(model)
        decided(f"x/{model}", "1", model)
    now = NOW
    for minute in range(6):  # a and b take turns, as foretold
        now = NOW + timedelta(minutes=minute)
        mine, other = ("a", "b") if minute % 2 == 0 else ("b", "a")
        forecasting.keep([(f"x/{other}", now + timedelta(minutes=1))], now=now)
        took_ticket(f"x/{mine}", mine, now, "seated")
        forecasting.saw_use(SPEC.model_copy(update={"model": mine}), now=now)
    assert forecasting.coming_for(SPEC, now=now).models == ("a",)
    assert forecasting.trust_in_words("ram") == (
        "the schedule foretold 5 of the last 5 changes of model: who is needed next leaves last"
    )
    assert "0 of the last 0 changes of model: the longest idle" in forecasting.trust_in_words("vram")


def test_a_use_of_a_model_that_was_never_loaded_says_nothing(hotdesk_home: Home):
    forecasting.saw_use(SPEC, now=NOW)
    with reading() as session:
        assert forecasting.recalled(session, "ram").model is None
    learned("a")
    forecasting.saw_use(SPEC, now=NOW)
    with reading() as session:
        assert forecasting.recalled(session, "ram").model == "a"


def test_what_another_release_remembered_counts_as_nothing(hotdesk_home: Home):
    remember("trust:ram", '{"tomorrow": 1}')
    with reading() as session:
        assert forecasting.recalled(session, "ram").model is None


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement as it goes to the database, the begin of each transaction included."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database(), "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database(), "before_cursor_execute", note)


def under_the_lock(seen: list[str]) -> str:
    """What the one writing transaction sent; reading ones begin with BEGIN and come before it."""
    assert seen.count("BEGIN IMMEDIATE") == 1
    return " ".join(seen[seen.index("BEGIN IMMEDIATE") :])


def test_a_use_is_judged_before_the_write_lock_is_taken(hotdesk_home: Home):
    learned("a")
    decided("x/a", "1", "a")
    forecasting.keep([("x/a", NOW + timedelta(minutes=1))], now=NOW)
    with statements() as seen:
        forecasting.saw_use(SPEC, now=NOW)
    assert any("FROM tickets" in statement for statement in seen)
    written = under_the_lock(seen)
    assert "settings" in written
    assert not any(table in written for table in ("tickets", "expected_uses", "footprints"))


def test_a_look_ahead_reads_what_was_decided_before_it_takes_the_write_lock(hotdesk_home: Home):
    decided("x/a", "1", "a")
    with statements() as seen:
        assert forecasting.keep([("x/a", NOW + timedelta(minutes=1))], now=NOW) == 1
    assert "decisions" not in under_the_lock(seen)


def test_only_tickets_since_the_oldest_expected_use_are_looked_at(hotdesk_home: Home):
    with transaction() as session:
        session.add(ExpectedUse(at=NOW, agent="x/a", model="a"))
    edge = NOW - forecasting.CAME_BEFORE
    took_ticket("x/a", "a", edge - timedelta(seconds=1))
    with statements() as seen:
        assert ahead() == [("a", 0)]
    [grouped] = [statement for statement in seen if "GROUP BY" in statement]
    assert "tickets.taken_at >= ?" in grouped
    took_ticket("x/a", "a", edge)
    assert ahead() == []


def test_the_next_use_is_looked_for_once_for_each_model(hotdesk_home: Home):
    calls = 0

    def count(frame: FrameType, what: str, _argument: object) -> None:
        nonlocal calls
        calls += what == "call" and frame.f_code is forecast.next_use.__code__

    with transaction() as session:
        for minute in range(1, 31):
            use = {"at": NOW + timedelta(minutes=minute), "agent": f"x/{minute}", "model": "abc"[minute % 3]}
            session.add(ExpectedUse(**use))
    with reading() as session:
        sys.setprofile(count)
        try:
            found = forecasting.next_uses(session, now=NOW)
        finally:
            sys.setprofile(None)
    assert found == {model: NOW + timedelta(minutes=minute) for model, minute in (("b", 1), ("c", 2), ("a", 3))}
    assert calls == 3
