"""A batch gives the desk up between two of its requests, and only then and only for a reason (invariant 43).

Line, tickets, seats and database are real; Prefect's limit grants everything, and the model is a scripted server.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from deployments.line_order import run_line
from governor import asking, serving
from governor import desk as desk_module
from governor.answers import Asked, no_answer
from governor.batch import Mandate
from governor.desk import desk, line_of
from governor.errors import LeftLine, SeatLost, StateUnavailable
from governor.line import Errand
from governor.pause_rows import PAUSE
from governor.policy import politeness
from governor.policy.ordering import Order
from governor.policy.politeness import HARD_MULTIPLE, Waiting
from governor.policy.routing import RoutingFacts
from governor.settings import Home
from governor.state.models import Decision, Ticket
from governor.state.sessions import reading, transaction
from tests.benchmarks.churn import InstantLimit
from tests.fakes.card import FakeEngine, fake_card
from tests.fakes.openai_wire import FakeOpenAI, Scene, says
from tests.unit.test_asking import LOCAL
from tests.unit.test_cascade import HEAVY, NOW, QUESTION, seats

EIGHT, NINE = datetime(2026, 11, 25, 8, tzinfo=UTC), datetime(2026, 11, 25, 9, tzinfo=UTC)
SPEC: Any = HEAVY.spec
Another = Callable[[datetime], "Waiter"]
ENOUGH_SECONDS = 10.0


class FakeLimit(InstantLimit):
    """FAKE of Prefect's limit: it grants everything."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __enter__(self) -> "FakeLimit":
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def engine(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    facts = RoutingFacts(profile=LOCAL.model_copy(update={"tiers": {"heavy": SPEC}}), now=NOW)
    monkeypatch.setattr(asking, "gather_facts", lambda *_a, **_k: facts)
    monkeypatch.setattr(desk_module, "PrefectLimit", FakeLimit)
    with fake_card(monkeypatch, lambda _spec: 100.0) as made:
        yield made


def ask(engine: FakeEngine, *scenes: Scene, requests: int = 3, **terms: Any) -> tuple[Asked, int]:
    """A batch at a desk of its own; what came of it, and how many calls there were."""
    with FakeOpenAI(*scenes) as model:
        engine.litellm_parameters = lambda spec, loaded: model.parameters
        mandate = Mandate("digest/news", **{"patience_seconds": 20.0, "bound_seconds": 0.0, **terms})
        asked = asking.ask_all([QUESTION] * requests, mandate)
    return asked, len(model.bodies)


class Waiter:
    """Another agent in a thread: it joins the line, sits once, and stands up when it has seen what was done before."""

    def __init__(self, due_at: datetime) -> None:
        self.errand = Errand("gpu", "brief/day-plan", SPEC.model, ENOUGH_SECONDS, due_at)
        self.calls_before: int | None = None
        self.fake: FakeOpenAI | None = None
        self._thread = threading.Thread(target=self._sit)

    def joins(self, then: Scene) -> Scene:
        """It is in line before this is said."""

        def scene(fake: FakeOpenAI, exchange: Any) -> None:
            self.fake = fake
            self._thread.start()
            while not line_of("gpu").dues(datetime.now(UTC)).dues and self._thread.is_alive():
                self._thread.join(0.01)
            then(fake, exchange)

        return scene

    def _sit(self) -> None:
        with desk(SPEC, self.errand):
            self.calls_before = len(self.fake.bodies) if self.fake else None

    def sat_after(self) -> int | None:
        """How many calls had been made when it sat."""
        self._thread.join(ENOUGH_SECONDS)
        return self.calls_before


@pytest.fixture
def another(engine: FakeEngine) -> Iterator[Callable[[datetime], Waiter]]:
    """Other agents, by when they are due; none outlives its test."""
    made: list[Waiter] = []

    def waiter(due_at: datetime) -> Waiter:
        made.append(Waiter(due_at))
        return made[-1]

    yield waiter
    for one in made:
        one.sat_after()


GOOD, BAD = says('"good"'), says('"bad"')


def tickets() -> list[tuple[str, str]]:
    with reading() as session:
        return [(row.agent, row.state) for row in session.scalars(select(Ticket).order_by(Ticket.id))]


def test_one_ticket_serves_a_whole_batch_while_nobody_waits(engine: FakeEngine):
    asked, calls = ask(engine, GOOD, requests=12)
    assert calls == 12 and all(answer.verified for answer in asked.answers)
    assert tickets() == [("digest/news", "done")]


def test_who_is_due_earlier_sits_after_one_call_and_the_rest_follows_in_order(
    engine: FakeEngine, another: Another, caplog: pytest.LogCaptureFixture
):
    waiter = another(EIGHT)
    with caplog.at_level(logging.INFO, logger="hotdesk"):
        asked, calls = ask(engine, waiter.joins(GOOD), BAD, GOOD, due_at=NINE)
    assert waiter.sat_after() == 1
    assert [answer.data for answer in asked.answers] == ["good", "bad", "good"] and calls == 3
    assert tickets() == [("digest/news", "done"), ("brief/day-plan", "done"), ("digest/news", "done")]
    [line] = [said for said in caplog.messages if "gave_up_desk" in said]
    assert "left=2" in line and "1 in line due earlier" in line and "holder=digest/news" in line
    with reading() as session:
        rows = session.scalars(select(Decision).order_by(Decision.id)).all()
    assert [row.request_id for row in rows] == asked.ids
    assert [row.attempt for row in rows] == [1, 1, 1]


def test_the_rest_has_a_budget_of_its_own_and_what_is_left_of_the_same_patience(
    engine: FakeEngine, another: Another, monkeypatch: pytest.MonkeyPatch
):
    seats_had: list[tuple[float, float]] = []

    def noted(spec: Any, errand: Errand, *, budget_seconds: float) -> Any:
        seats_had.append((errand.patience_seconds, budget_seconds))
        return desk(spec, errand, budget_seconds=budget_seconds)

    monkeypatch.setattr(serving, "desk", noted)
    ask(engine, another(EIGHT).joins(GOOD), GOOD)
    (patience, budget), (left, rest) = seats_had
    a_call = 2 * serving.call_seconds(QUESTION)
    assert (budget, rest) == pytest.approx((60 + 3 * a_call, 60 + 2 * a_call))
    assert 0 < left < patience <= 20


@pytest.mark.parametrize(
    ("terms", "multiple", "sat_after"),
    [
        ({"due_at": EIGHT, "bound_seconds": 1e-9}, 1e12, 3),  # the waiter is due later
        ({"due_at": EIGHT}, HARD_MULTIPLE, 1),  # 3 times a bound of nothing is over at once
        ({"bound_seconds": 60.0}, HARD_MULTIPLE, 3),  # within its bound
    ],
)
def test_who_is_not_due_earlier_waits_for_the_whole_batch_or_for_its_hard_bound(
    engine: FakeEngine,
    another: Another,
    monkeypatch: pytest.MonkeyPatch,
    terms: dict[str, Any],
    multiple: float,
    sat_after: int,
):
    monkeypatch.setattr(politeness, "HARD_MULTIPLE", multiple)
    waiter = another(NINE)
    _, calls = ask(engine, waiter.joins(GOOD), GOOD, **terms)
    assert (waiter.sat_after(), calls) == (sat_after, 3)


def test_a_request_that_got_no_answer_is_not_asked_again_at_the_next_seat(engine: FakeEngine, another: Another):
    def busy(_fake: FakeOpenAI, exchange: Any) -> None:
        exchange.send_json(503, {"error": {"message": "busy"}})

    asked, calls = ask(engine, another(EIGHT).joins(busy), busy, GOOD)
    assert calls == 4  # twice the first, once each of the others
    assert [answer.verified for answer in asked.answers] == [False, True, True]


def test_a_wrong_answer_is_asked_once_more_before_the_desk_is_given_up(engine: FakeEngine, another: Another):
    waiter = another(EIGHT)
    asked, _ = ask(engine, waiter.joins(says("perhaps")), GOOD)
    assert waiter.sat_after() == 2 and all(answer.verified for answer in asked.answers)


def test_patience_that_ends_in_the_second_line_keeps_what_was_answered(
    engine: FakeEngine, another: Another, monkeypatch: pytest.MonkeyPatch
):
    at_one_seat = serving._at_one_seat

    def once(batch: Any, wanting: list[int], *more: Any) -> list[int]:
        if len(wanting) < 3:
            raise LeftLine("Its patience ran out.", remedy="None.", waited_seconds=1.0)
        return at_one_seat(batch, wanting, *more)

    monkeypatch.setattr(serving, "_at_one_seat", once)
    asked, calls = ask(engine, another(EIGHT).joins(GOOD), GOOD)
    assert calls == 1
    assert [answer.verified for answer in asked.answers] == [True, False, False]
    assert asked.answers[1].problems == ["Its patience ran out."]


def test_a_seat_that_is_lost_after_one_was_given_up_is_queued_for_once(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    had: list[list[int]] = []

    def at_one_seat(batch: Any, wanting: list[int], *_: Any) -> list[int]:
        had.append(wanting)
        if len(had) == 1:
            batch.keep(0, no_answer(HEAVY, "none"))
            return wanting[1:]
        raise SeatLost("Lost.", remedy="None.")

    monkeypatch.setattr(serving, "_at_one_seat", at_one_seat)
    with pytest.raises(SeatLost):
        ask(engine, GOOD)
    assert had == [[0, 1, 2], [1, 2], [0, 1, 2]]


def test_a_seat_of_a_block_further_out_is_not_given_up(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    looked: list[bool] = []
    monkeypatch.setattr(serving, "_gives_up", lambda *_: looked.append(True))
    with seats(engine, (HEAVY, (GOOD,))) as desks:
        asking.ask_all([QUESTION] * 3, Mandate("a/b", 20, bound_seconds=0.0))
    assert desks.asked("heavy") == 3 and not looked


def test_nobody_is_looked_for_within_the_bound_and_a_line_that_cannot_be_read_is_no_reason(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    def unreadable(*_: Any) -> None:
        raise StateUnavailable("The disk is full.", remedy="Wait.")

    monkeypatch.setattr(desk_module.Line, "dues", unreadable)
    _, calls = ask(engine, GOOD)
    assert calls == 3 and tickets() == [("digest/news", "done")]
    monkeypatch.setattr(desk_module.Line, "dues", lambda *_: pytest.fail("somebody was looked for"))
    ask(engine, GOOD, bound_seconds=60.0)


def taken(due_at: datetime | None, **columns: Any) -> None:
    line = line_of("gpu")
    line.ensure_slots(1)
    place = line.take(Errand("gpu", "a/b", "m", 60.0, due_at), now=NOW, clock_s=0.0)
    with transaction() as session:
        session.execute(update(Ticket).where(Ticket.id == place.id).values({"state": "waiting", **columns}))


def test_only_the_living_who_wait_awake_count_and_nobody_does_in_a_paused_line(hotdesk_home: Home):
    now = datetime.now(UTC)
    taken(EIGHT)
    taken(None)
    taken(NINE, state="offered")
    taken(NINE, asleep=True)
    taken(NINE, boot_id="another", start_ticks=1)
    taken(NINE, state="left")
    assert line_of("gpu").dues(now) == Waiting((EIGHT, None), Order.FIFO)
    assert line_of("cpu").dues(now) == Waiting()
    run_line("gpu", order="deadline", overtakes=None, never_after_seconds=None)
    assert line_of("gpu").dues(now) == Waiting((EIGHT, None), Order.DEADLINE)
    with transaction() as session:
        session.execute(insert(PAUSE).values(line="gpu", by="person", since=now, reason="a film"))
    assert line_of("gpu").dues(now) == Waiting()
