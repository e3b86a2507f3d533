"""From a wrong answer to a larger model, from a silent tier to the next, and never down or without end (invariant 40).

The seats are had already; the models behind them are scripted servers, asked through the real client.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select

from governor import asking
from governor import desk as desk_module
from governor.answers import Asked
from governor.batch import Batch, Mandate
from governor.desk import Seat
from governor.engines.protocol import Loaded
from governor.errors import BadInput, LeftLine, ModelFailed, NotReady
from governor.line import Grant
from governor.policy.facts import ModelSpec
from governor.policy.requests import Candidate, ModelRequest, Route
from governor.policy.routing import RoutingFacts
from governor.routing import Asker, strictest
from governor.settings import Home
from governor.state.models import Decision
from governor.state.sessions import reading
from governor.state.tiers import Gain
from tests.fakes.card import FakeEngine, fake_card
from tests.fakes.openai_wire import FakeOpenAI, Scene, says
from tests.unit.test_routing import NOW, PROFILE

LABELS = ("good", "bad")
QUESTION = ModelRequest.model_validate({"kind": "classify", "prompt": "Which?", "choices": LABELS})


def spec(model: str, line: str, billion: float) -> ModelSpec:
    known = {"engine": "fake", "source": model, "context_tokens": 4096, "expected_mib": 100}
    return ModelSpec.model_validate({**known, "model": model, "line": line, "parameters_billion": billion})


TINY = Candidate(tier="tiny", spec=spec("tiny", "cpu", 0.5), reason="small")
HEAVY = Candidate(tier="heavy", spec=spec("heavy", "gpu", 7.0), reason="large")
KNOWN = RoutingFacts(profile=PROFILE, now=NOW)


class FakeTurn:
    """FAKE: a seat that was had and is never lost."""

    is_mine = True

    def __init__(self, line: str) -> None:
        self.line = type("Line", (), {"name": line})()
        self.grant = Grant(0, 1, "lease")

    def is_current(self) -> bool:
        return True


@dataclass
class Desks:
    """Scripted models behind the seats of this run."""

    servers: dict[str, FakeOpenAI] = field(default_factory=dict)

    def asked(self, model: str) -> int:
        return len(self.servers[model].bodies)


@contextmanager
def seats(engine: FakeEngine, *candidates: tuple[Candidate, tuple[Scene, ...]]) -> Iterator[Desks]:
    desks = Desks()
    engine.litellm_parameters = lambda spec, loaded: desks.servers[spec.model].parameters
    with ExitStack() as stack:
        for candidate, scenes in sorted(candidates, key=lambda pair: pair[0].tier):  # the heavy seat was had first
            one: Any = candidate.spec
            desks.servers[one.model] = stack.enter_context(FakeOpenAI(*scenes))
            turn: Any = FakeTurn(one.line)
            asked = one.model_copy(update={"least_context_tokens": 0})
            seat = Seat(turn, Grant(0, 1, "lease"), 0.5, asked, asked, Loaded("http://x", None, None, None))
            token = desk_module._seats.set((*desk_module._seats.get(), seat))
            stack.callback(desk_module._seats.reset, token)
        yield desks


@pytest.fixture
def engine(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_card(monkeypatch, lambda _spec: 100.0) as made:
        yield made


def along(*candidates: Candidate, requests: tuple[ModelRequest, ...] = (QUESTION,), patience_seconds: float = 30.0):
    batch = Batch(requests, Asker("triage/inbox"), Mandate("triage/inbox"), time.monotonic() + patience_seconds)
    batch.route = Route(candidates=candidates)
    return batch, asking._along(batch, KNOWN)


def decisions() -> list[tuple[str, int, str]]:
    with reading() as session:
        rows = session.scalars(select(Decision).order_by(Decision.id)).all()
    return [(row.tier, row.attempt, row.verdict) for row in rows]


def result(batch: Batch) -> Asked:
    return batch.result("")


def test_a_right_answer_goes_no_further(engine: FakeEngine):
    with seats(engine, (TINY, (says('"good"'),)), (HEAVY, (says('"bad"'),))) as desks:
        batch, failure = along(TINY, HEAVY)
    assert failure is None
    [answer] = result(batch).answers
    assert (answer.data, answer.tier, answer.verified) == ("good", "tiny", True)
    assert (desks.asked("tiny"), desks.asked("heavy")) == (1, 0)
    assert decisions() == [("tiny", 1, "verified")]


def test_a_wrong_answer_is_asked_for_once_more_and_then_of_the_larger_model(engine: FakeEngine):
    with seats(engine, (TINY, (says("perhaps"),)), (HEAVY, (says('"bad"'),))) as desks:
        batch, _ = along(TINY, HEAVY)
    [answer] = result(batch).answers
    assert (answer.data, answer.tier) == ("bad", "heavy")
    assert (desks.asked("tiny"), desks.asked("heavy")) == (2, 1)
    none = "... is none of the choices"  # an answer may repeat its prompt: its words are not kept
    assert decisions() == [("tiny", 1, none), ("tiny", 2, none), ("heavy", 3, "verified")]
    with reading() as session:
        learned = {row.model: (row.tried, row.verified) for row in session.scalars(select(Gain)).all()}
    assert learned == {"tiny": (1, 0)}  # the larger one saw only what the small one could not do


def test_a_wrong_answer_is_never_taken_to_a_smaller_model(engine: FakeEngine):
    with seats(engine, (HEAVY, (says("perhaps"),)), (TINY, (says('"good"'),))) as desks:
        batch, failure = along(HEAVY, TINY)
    [answer] = result(batch).answers
    assert (answer.verified, answer.tier, failure) == (False, "heavy", None)
    assert desks.asked("tiny") == 0


def test_only_what_failed_goes_up(engine: FakeEngine):
    scenes = (says('"good"'), says("perhaps"), says("perhaps"), says('"bad"'))
    with seats(engine, (TINY, scenes), (HEAVY, (says('"good"'),))) as desks:
        batch, _ = along(TINY, HEAVY, requests=(QUESTION, QUESTION, QUESTION))
    assert [(a.data, a.tier) for a in result(batch).answers] == [("good", "tiny"), ("good", "heavy"), ("bad", "tiny")]
    assert desks.asked("heavy") == 1


def gone(_fake: FakeOpenAI, exchange: Any) -> None:
    exchange.send_json(400, {"error": {"message": "no such model", "type": "invalid_request_error"}})


def test_a_tier_that_gives_no_answer_is_followed_by_the_next_even_a_smaller_one(engine: FakeEngine):
    with seats(engine, (HEAVY, (gone,)), (TINY, (says('"good"'),))):
        batch, failure = along(HEAVY, TINY)
    assert isinstance(failure, ModelFailed)
    [answer] = result(batch).answers
    assert (answer.data, answer.tier) == ("good", "tiny")
    assert [tier for tier, *_ in decisions()] == ["heavy", "tiny"]
    with reading() as session:
        assert session.scalars(select(Gain.model)).all() == []  # no answer teaches nothing


def test_nobody_answers_is_the_last_ones_error(engine: FakeEngine):
    with seats(engine, (HEAVY, (gone,)), (TINY, (gone,))):
        batch, failure = along(HEAVY, TINY)
    assert isinstance(failure, ModelFailed) and batch.is_unanswered


def test_patience_that_ends_on_the_way_up_keeps_what_there_is(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    """The larger model's line is too long: the small one's wrong answers stay, marked as such."""

    def left(*_arguments: Any) -> None:
        raise LeftLine("patience ran out.", remedy="None.")

    with seats(engine, (TINY, (says("perhaps"),))):
        batch = Batch((QUESTION,), Asker("triage/inbox"), Mandate("triage/inbox"), time.monotonic() + 30)
        batch.route = Route(candidates=(TINY,))
        asking._along(batch, KNOWN)
        batch.route = Route(candidates=(HEAVY,))
        monkeypatch.setattr(asking.serving, "at_desk", left)
        failure = asking._along(batch, KNOWN)
    assert isinstance(failure, LeftLine) and not batch.is_unanswered
    assert [answer.verified for answer in result(batch).answers] == [False]


def test_an_error_of_the_surroundings_ends_the_batch_at_once(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch):
    tried: list[str] = []

    def no_server(_batch: Batch, candidate: Candidate, *_more: Any) -> None:
        tried.append(candidate.tier)
        raise NotReady("No server.", remedy="Start it.")

    monkeypatch.setattr(asking.serving, "at_desk", no_server)
    batch, failure = along(TINY, HEAVY)
    assert isinstance(failure, NotReady) and batch.is_unanswered
    assert tried == ["tiny"]


@pytest.mark.parametrize(
    ("said", "stands"),
    [(("12", "12"), True), (("12", "The answer is 12."), True), (("12", "13"), False)],
)
def test_work_that_no_rule_checks_can_want_answers_that_agree(engine: FakeEngine, said: tuple[str, ...], stands: bool):
    request = ModelRequest.model_validate({"kind": "write", "prompt": "How many?", "votes": 2})
    with seats(engine, (HEAVY, tuple(says(text) for text in said))) as desks:
        batch, _ = along(HEAVY, requests=(request,))
    [answer] = result(batch).answers
    assert answer.verified is stands and desks.asked("heavy") == 2
    assert (decisions()[-1][-1] == "verified") is stands


def test_an_answer_that_refuses_does_not_stand_though_no_rule_was_given(engine: FakeEngine):
    request = ModelRequest.model_validate({"kind": "write", "prompt": "A line, please."})
    refuses = says("I'm sorry, but I can't assist with that request.")
    with seats(engine, (TINY, (refuses,)), (HEAVY, (says("A fine line."),))):
        batch, _ = along(TINY, HEAVY, requests=(request,))
    [answer] = result(batch).answers
    assert (answer.text, answer.tier) == ("A fine line.", "heavy")


def test_a_batch_goes_where_its_most_private_request_may_go_and_when_its_first_one_is_due():
    public = ModelRequest.model_validate({"kind": "write", "prompt": "x", "privacy": "public", "max_tokens": 900})
    long = ModelRequest.model_validate({"kind": "write", "prompt": "word " * 50, "due_at": NOW})
    lead = strictest((public, long))
    assert (lead.allowed, lead.due_at, lead.max_tokens, lead.prompt) == ("local_only", NOW, 900, long.prompt)


def test_more_than_its_cap_is_not_asked_at_all(hotdesk_home: Home):
    request = ModelRequest.model_validate({"kind": "write", "prompt": "word " * 500, "max_input_tokens": 100})
    with pytest.raises(BadInput, match="its cap is 100"):
        asking.ask_all([request], Mandate("a/b", 1))


def test_a_decision_says_all_that_was_weighed(engine: FakeEngine):
    with seats(engine, (TINY, (says('"good"'),))):
        along(TINY, HEAVY)
    with reading() as session:
        row = session.scalars(select(Decision)).one()
    assert [candidate["tier"] for candidate in row.candidates] == ["tiny", "heavy"]
    assert (row.line, row.privacy, row.request_id != "") == ("cpu", "local_only", True)
    assert 0 < row.first_token_seconds <= row.work_seconds
    assert "Which?" not in str(vars(row))
