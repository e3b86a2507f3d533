"""Who yields to whom, and what the ticket says that a batch takes for its rest (invariant 43).

The clock, the desk and the model are played here; the same at a real desk is `test_politeness`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from governor import asking, batch, serving
from governor.accounts import CloudAccount
from governor.answers import Asked, answer_by
from governor.batch import Mandate
from governor.errors import DoesNotFit, HotdeskError, LeftLine
from governor.inference import Completion
from governor.line import Errand
from governor.policy.ordering import Order
from governor.policy.politeness import HARD_MULTIPLE, Waiting, gives_up
from governor.policy.requests import Candidate
from governor.policy.routing import RoutingFacts
from governor.routing import Asker
from tests.unit.test_cascade import HEAVY, NOW, QUESTION
from tests.unit.test_cloud_routing import GROQ
from tests.unit.test_routing import PROFILE

SEVEN, EIGHT, NINE, TEN = (datetime(2026, 11, 25, hour, tzinfo=UTC) for hour in (7, 8, 9, 10))
LINE_SECONDS, LOAD_SECONDS, CALL_SECONDS = 5.0, 30.0, 100.0


@pytest.mark.parametrize(
    ("sat_seconds", "own", "dues", "why"),
    [
        (119.9, None, [EIGHT] * 9, ""),  # within its bound it stays, whoever waits
        (120.0, None, [], ""),
        (9e9, None, [], ""),  # for nobody's sake a model is swapped
        (120.0, NINE, [EIGHT], "1 in line due earlier"),
        (120.0, None, [NINE], "1 in line due earlier"),
        (120.0, NINE, [EIGHT, None, EIGHT], "1 in line due earlier"),
        (120.0, NINE, [None, EIGHT], ""),  # the desk would go to somebody else
        (120.0, NINE, [TEN, EIGHT], ""),
        (120.0 * HARD_MULTIPLE, NINE, [None, EIGHT], "2 in line, and 3 times its time is over"),
        (120.0, EIGHT, [NINE], ""),
        (120.0, EIGHT, [EIGHT], ""),  # who is due at the same time does not take turns with it
        (120.0, EIGHT, [None], ""),
        (120.0, None, [None], ""),
        (120.0 * HARD_MULTIPLE, None, [None], "1 in line, and 3 times its time is over"),
        (120.0 * HARD_MULTIPLE, EIGHT, [NINE, None], "2 in line, and 3 times its time is over"),
    ],
)
def test_who_yields_to_whom(sat_seconds: float, own: datetime | None, dues: list[datetime | None], why: str):
    for order in (Order.FIFO, Order.AFFINITY):
        assert gives_up(sat_seconds, 120.0, own_due_at=own, waiting=Waiting(tuple(dues), order)) == why


@pytest.mark.parametrize(
    ("own", "dues", "why"),
    [
        (None, [None, EIGHT, NINE], "2 in line due earlier"),
        (NINE, [TEN, EIGHT], "1 in line due earlier"),
        (EIGHT, [None, NINE], ""),
    ],
)
def test_where_who_is_due_may_pass_the_desk_is_given_up_for_anybody_in_line(
    own: datetime | None, dues: list[datetime | None], why: str
):
    assert gives_up(120.0, 120.0, own_due_at=own, waiting=Waiting(tuple(dues), Order.DEADLINE)) == why


@dataclass
class FakeDesk:
    """FAKE clock and desk: the client loads for 30 s, so does a model; a ticket waits 5 s, a call takes 100 s.

    At every seat somebody waits who is due earlier.
    """

    now_s: float = 0.0
    had: list[Errand] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now_s

    def warm_up(self, _clouds: Any) -> None:
        self.now_s += LOAD_SECONDS

    def desk(self, _spec: Any, errand: Errand, *, budget_seconds: float) -> Any:
        self.had.append(errand)
        self.then()
        line = SimpleNamespace(dues=lambda _now: Waiting((SEVEN,)))
        turn = SimpleNamespace(ticket_id=len(self.had), line=line)
        seat = SimpleNamespace(turn=turn, waited_seconds=LINE_SECONDS, line="gpu")
        return _Place(self, seat)

    def call(self, served: Any, index: int, candidate: Any, _seat: Any) -> None:
        self.now_s += CALL_SECONDS
        served.keep(index, answer_by(candidate, text="good", data="good", problems=[]))


@dataclass
class _Place:
    """FAKE of a seat of one's own."""

    fake: FakeDesk
    seat: Any
    is_shared: bool = False

    def __enter__(self) -> Any:
        self.fake.now_s += LINE_SECONDS + LOAD_SECONDS
        return self.seat

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> FakeDesk:
    fake = FakeDesk()
    facts = RoutingFacts(profile=PROFILE.model_copy(update={"tiers": {"heavy": HEAVY.spec}}), now=NOW)
    monkeypatch.setattr(asking, "gather_facts", lambda *_a, **_k: facts)
    for module in (asking, batch, serving):
        monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(asking.inference, "warm_up", fake.warm_up)
    monkeypatch.setattr(serving, "desk", fake.desk)
    monkeypatch.setattr(serving, "_ask_at_seat", fake.call)
    return fake


def ask(*dues: datetime | None, **terms: Any) -> Asked:
    mandate = Mandate("digest/news", **{"patience_seconds": 12.0, "bound_seconds": 60.0, **terms})
    return asking.ask_all([QUESTION.model_copy(update={"due_at": due}) for due in dues], mandate)


@pytest.mark.parametrize(
    ("dues", "own", "tickets"),
    [
        ([EIGHT, NINE, TEN], None, [EIGHT, NINE, TEN]),  # not when what is answered was due
        ([NINE, EIGHT, None], TEN, [EIGHT, EIGHT, TEN]),
        ([TEN, None, None], NINE, [NINE, NINE, NINE]),
        ([None, None, None], None, [None, None, None]),
    ],
)
def test_a_ticket_says_when_the_first_of_what_is_left_is_due(
    played: FakeDesk, dues: list[datetime | None], own: datetime | None, tickets: list[datetime | None]
):
    ask(*dues, due_at=own)
    assert [errand.due_at for errand in played.had] == tickets


def test_only_the_time_in_line_is_taken_from_patience_and_the_rest_tells_how_long_it_will_take(played: FakeDesk):
    asked = ask(EIGHT, EIGHT, EIGHT)
    assert [errand.patience_seconds for errand in played.had] == [12, 7, 2]
    assert [errand.work_seconds for errand in played.had][1:] == [2 * CALL_SECONDS, CALL_SECONDS]
    assert all(answer.verified for answer in asked.answers)
    assert (asked.line_seconds, asked.desk_seconds) == (3 * LINE_SECONDS, 3 * CALL_SECONDS)


@pytest.mark.parametrize(
    ("error", "in_line"),
    [
        (LeftLine("Left.", remedy="None.", waited_seconds=12.0), 12.0),
        (DoesNotFit("Full.", remedy="None."), 0.0),
    ],
)
def test_an_error_says_how_long_the_batch_was_in_line_and_at_desks(
    played: FakeDesk, error: HotdeskError, in_line: float
):
    def fails() -> None:
        raise error

    played.then = fails
    with pytest.raises(type(error)) as raised:
        ask(NOW + timedelta(hours=1))
    assert raised.value.data["line_seconds"] == in_line and raised.value.data["desk_seconds"] == 0.0


def test_a_call_in_the_cloud_is_not_taken_from_patience_either(monkeypatch: pytest.MonkeyPatch):
    said = Completion("good", "stop", 10, 5, first_token_seconds=0.2, seconds=40.0)
    monkeypatch.setattr(serving.cloud, "ask_cloud", lambda *_a, **_k: said)
    monkeypatch.setattr(serving, "record", lambda *_a, **_k: None)
    one = batch.Batch([QUESTION] * 2, Asker("a/b"), Mandate("a/b"), ends_s=1000.0)
    serving.in_cloud(one, Candidate(tier=GROQ.name, cloud=GROQ, reason=""), CloudAccount(GROQ))
    assert (one.ends_s, one.desk_seconds) == (1080.0, 80.0)
