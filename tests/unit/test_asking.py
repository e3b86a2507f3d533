"""A batch from its beginning to its end: what an agent gets when something on the way goes wrong (invariant 40).

The route is chosen by the real policy on facts that are set; seats were had, models are scripted servers. A tier of the
cloud is played by a function here: the real call is tested in `test_cloud`.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from governor import asking, decisions, inference
from governor.accounts import CloudAccount
from governor.answers import Answer, judged
from governor.batch import Mandate
from governor.errors import (
    HotdeskError,
    LeftLine,
    ModelFailed,
    NoRoute,
    NotReady,
    Private,
    SeatLost,
    TierShut,
)
from governor.policy.refusing import CloudFact
from governor.policy.requests import ModelRequest, Privacy
from governor.policy.routing import RoutingFacts
from governor.routing import Asker
from governor.settings import Home
from governor.state.models import Decision
from governor.state.sessions import reading
from tests.fakes.card import FakeEngine, fake_card
from tests.fakes.openai_wire import FakeOpenAI, says
from tests.unit.test_cascade import HEAVY, QUESTION, TINY, gone, seats
from tests.unit.test_cloud_routing import GROQ, MUTE, NOW, left
from tests.unit.test_routing import PROFILE

LOCAL = PROFILE.model_copy(update={"tiers": {"heavy": HEAVY.spec, "tiny": TINY.spec}})
PUBLIC = QUESTION.model_copy(update={"privacy": Privacy.PUBLIC})
Cloud = Callable[[ModelRequest], inference.Completion]


def writes(**more: Any) -> ModelRequest:
    return ModelRequest.model_validate({"kind": "write", "prompt": "Write.", "privacy": "public", **more})


def said(text: str, finish: str = "stop") -> inference.Completion:
    return inference.Completion(text, finish, 10, 5, 0.1, 0.2)


@pytest.fixture
def engine(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_card(monkeypatch, lambda _spec: 100.0) as made:
        yield made


def asker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Answer]]:
    """FAKE surroundings: facts as given, and a cloud that is a function."""

    def ask_all(
        *requests: ModelRequest, known: dict[str, Any] | None = None, cloud: Cloud | None = None
    ) -> list[Answer]:
        facts = RoutingFacts(profile=LOCAL, now=NOW).model_copy(update=known or {})

        def gathered(_lead: ModelRequest, who: Asker, _now: Any, *, needed: int) -> RoutingFacts:
            return facts.model_copy(update={"counted_tokens": needed, "calls": who.calls})

        monkeypatch.setattr(asking, "gather_facts", gathered)
        if cloud is not None:
            monkeypatch.setattr(asking.serving.cloud, "ask_cloud", lambda request, _account, *, terms: cloud(request))
        accounts = tuple(CloudAccount(fact.model) for fact in facts.clouds)
        return asking.ask_all(requests, Mandate("a/b", 20), accounts=accounts).answers

    return ask_all


@pytest.fixture
def ask(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Answer]]:
    return asker(monkeypatch)


def no_seat(error: HotdeskError, line: str) -> Callable[..., None]:
    served = asking.serving.at_desk

    def at_desk(batch: Any, candidate: Any, errand: Any) -> None:
        if candidate.spec.line == line:
            raise error
        served(batch, candidate, errand)

    return at_desk


def test_one_request_that_nobody_answers_does_not_cost_the_others_theirs(ask: Any, engine: FakeEngine):
    scenes = (says('"good"'), gone, says('"bad"'))
    with seats(engine, (TINY, scenes), (HEAVY, (gone,))):
        answers = ask(QUESTION, QUESTION, QUESTION)
    assert [answer.data for answer in answers] == ["good", None, None]
    assert [answer.verified for answer in answers] == [True, False, False]
    assert all(answer.problems for answer in answers[1:])


def test_nothing_at_all_is_an_error_that_says_what_the_last_one_said(ask: Any, engine: FakeEngine):
    with seats(engine, (TINY, (gone,)), (HEAVY, (gone,))), pytest.raises(ModelFailed, match="no such model"):
        ask(QUESTION)


def test_an_engine_that_stays_silent_keeps_its_seat_for_two_requests_only(ask: Any, engine: FakeEngine):
    def busy(_fake: FakeOpenAI, exchange: Any) -> None:
        exchange.send_json(503, {"error": {"message": "busy"}})

    with seats(engine, (TINY, (busy,)), (HEAVY, (says('"good"'),))) as desks:
        answers = ask(*[QUESTION] * 9)
    assert desks.asked("tiny") == 4 and [answer.data for answer in answers] == ["good"] * 9


def test_a_line_that_is_left_with_patience_to_spare_leaves_the_other_line(
    ask: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    gone_for_now = LeftLine("A person paused it.", remedy="None.", waited_seconds=0.1)
    monkeypatch.setattr(asking.serving, "at_desk", no_seat(gone_for_now, "gpu"))
    with seats(engine, (TINY, (says("A line."),))):
        [answer] = ask(writes(privacy=None))
    assert (answer.tier, answer.verified) == ("tiny", True)


@pytest.mark.parametrize(
    "error",
    [SeatLost("Lost.", remedy="None."), NotReady("No server.", remedy="None."), LeftLine("Left.", remedy="None.")],
)
def test_the_cloud_needs_no_seat(ask: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, error: HotdeskError):
    def no_seats(*_more: Any) -> None:
        raise error

    monkeypatch.setattr(asking.serving, "at_desk", no_seats)
    monkeypatch.setattr(asking, "LEAST_PATIENCE_SECONDS", 1e9)
    clouds = {"clouds": (CloudFact(model=GROQ, left=left(0)),)}
    [answer] = ask(writes(), known=clouds, cloud=lambda _request: said("A fine line."))
    assert (answer.tier, answer.text) == ("groq/big", "A fine line.")
    with pytest.raises(type(error)):
        ask(writes(privacy=None))


def test_what_would_be_late_serves_when_nobody_in_time_does(ask: Any, engine: FakeEngine):
    def down(_request: ModelRequest) -> inference.Completion:
        raise ModelFailed("The tier groq/big answered 503.", remedy="None.", retryable=True)

    known = {
        "clouds": (CloudFact(model=GROQ, left=left(0)),),
        "ahead": {"gpu": ("heavy",) * 20, "cpu": ("tiny",) * 60},
    }
    with seats(engine, (HEAVY, (says("A line."),)), (TINY, (says("A line."),))):
        [answer] = ask(writes(due_at=NOW + timedelta(minutes=2)), known=known, cloud=down)
    assert (answer.tier, answer.verified) == ("heavy", True)


def test_a_route_that_is_only_closed_for_now_is_no_failure_of_the_request(ask: Any):
    until = NOW + timedelta(minutes=12)
    cooling = {"clouds": (CloudFact(model=GROQ, closed_until=until, closed_why="429"),)}
    with pytest.raises(TierShut, match="cooling down until") as shut:
        ask(writes(prompt="word " * 6000), known=cooling)
    assert shut.value.data["until"] == until
    with pytest.raises(NoRoute, match="context too small"):
        ask(writes(prompt="word " * 6000, privacy=None), known=cooling)


def test_a_wall_that_holds_is_never_taken_for_an_answer(ask: Any, engine: FakeEngine):
    def private(_request: ModelRequest) -> inference.Completion:
        raise Private("It may not.", remedy="None.")

    known = {"clouds": (CloudFact(model=MUTE, left=left(0)),), "ahead": {"gpu": ("heavy",) * 90}}
    with pytest.raises(Private):
        ask(writes(), known=known, cloud=private)


def test_an_answer_is_not_lost_because_it_cannot_be_written_down(
    ask: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
):
    def locked(*_more: Any) -> None:
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    monkeypatch.setattr(decisions, "_keep", locked)
    with seats(engine, (TINY, (says('"good"'),))):
        assert [answer.data for answer in ask(QUESTION, QUESTION)] == ["good", "good"]


def test_a_trial_gets_one_request_and_what_it_cannot_do_is_done_by_the_best(ask: Any, engine: FakeEngine):
    known = {"draw": 0.1, "median_seconds": {"gpu": 10.0, "cpu": 10.0}}
    with seats(engine, (TINY, (says('"good"'),)), (HEAVY, (says("perhaps"),))) as desks:
        answers = ask(QUESTION, QUESTION, QUESTION, known=known)
    assert [(answer.data, answer.tier) for answer in answers] == [("good", "tiny")] * 3
    assert desks.asked("heavy") == 2
    with reading() as session:
        assert session.scalars(select(Decision.tier).order_by(Decision.id)).all() == ["heavy"] * 2 + ["tiny"] * 3


def test_a_vote_that_was_not_had_is_not_a_vote_against(ask: Any, engine: FakeEngine):
    def busy(_fake: FakeOpenAI, exchange: Any) -> None:
        exchange.send_json(503, {"error": {"message": "busy"}})

    with seats(engine, (HEAVY, (says("12"), busy, says("12")))):
        [answer] = ask(writes(votes=2, privacy=None))
    assert (answer.text, answer.verified) == ("12", True)


@pytest.mark.parametrize(
    ("request_", "text", "cut", "stands"),
    [
        (writes(), "One. Two. And a thi", "One. Two.", True),
        (writes(kind="translate"), "One. Two. And a thi", "One. Two. And a thi", False),
        (writes(kind="code"), "def f(x):\n    # Adds. Th", "def f(x):\n    # Adds. Th", False),
    ],
)
def test_of_prose_that_was_cut_off_whole_sentences_stand_and_of_anything_else_nothing(
    request_: ModelRequest, text: str, cut: str, stands: bool
):
    kept, _, problems = judged(request_, text, cut=True)
    assert (kept, not problems) == (cut, stands)


def breaks(_text: str) -> list[str]:
    raise KeyError("total")


@pytest.mark.parametrize(
    ("request_", "text", "problem"),
    [
        (writes(verifier=breaks), "x", "its rule could not read it: KeyError"),
        (
            writes(kind="extract", json_schema={"type": "object"}),
            '{"n": ' + "9" * 5000 + "}",
            "no JSON that can be read",
        ),
        (writes(kind="extract", json_schema={"type": "object"}), "[" * 100_000, "no JSON"),
        (writes(kind="extract", json_schema={"type": "nothing"}), "{}", "schema is none"),
        (writes(kind="extract", json_schema={"type": "object"}), "<html>", "no JSON"),
    ],
)
def test_whatever_is_said_is_judged_and_never_an_error(request_: ModelRequest, text: str, problem: str):
    _, _, problems = judged(request_, text, cut=False)
    assert problem in problems[0]


def test_the_words_of_a_prompt_are_in_no_row(ask: Any, engine: FakeEngine):
    request = QUESTION.model_copy(update={"prompt": "my IBAN is DE44"})
    with seats(engine, (TINY, (says("my IBAN is DE44"),))):
        ask(request)
    with reading() as session:
        rows = [str(vars(row)) for row in session.scalars(select(Decision)).all()]
    assert rows and not any("IBAN" in row for row in rows)
