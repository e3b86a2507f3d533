"""A request that is too long for its cap or for every model comes back unasked, and the others go on (invariant 40)."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from governor.answers import Answer
from governor.errors import BadInput, HotdeskError, NoRoute
from governor.policy.allowance import Left
from governor.policy.refusing import CloudFact
from governor.policy.requests import Allowance, ModelRequest, Privacy, Span
from governor.settings import Home
from tests.fakes.card import FakeEngine, fake_card
from tests.fakes.openai_wire import says
from tests.unit.test_asking import LOCAL, PUBLIC, asker, said
from tests.unit.test_cascade import HEAVY, QUESTION, TINY, seats
from tests.unit.test_cloud_routing import GROQ, NOW, left

LONG = QUESTION.model_copy(update={"prompt": "word " * 6000, "privacy": Privacy.PUBLIC})
CAPPED = LONG.model_copy(update={"max_input_tokens": 100})
COOLING = CloudFact(model=GROQ, closed_until=NOW + timedelta(minutes=12), closed_why="429")
TOKENS = Left(allowance=Allowance(unit="tokens", span=Span.DAY, amount=4000), used=0, until=NOW + timedelta(hours=9))
TOO_LONG = "too long: about 6304 tokens, the largest context here is 4096"
OVER_CAP = "too long: it takes about 6048 tokens before its answer; its cap is 100"


@pytest.fixture
def engine(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_card(monkeypatch, lambda _spec: 100.0) as made:
        yield made


@pytest.fixture
def ask(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Answer]]:
    return asker(monkeypatch)


@pytest.mark.parametrize(
    ("too_long", "known", "problem"),
    [
        (LONG, {}, TOO_LONG),
        (LONG, {"draw": 0.1, "median_seconds": {"gpu": 10.0, "cpu": 10.0}}, TOO_LONG),  # not the one that is tried out
        (LONG, {"clouds": (COOLING,)}, TOO_LONG),
        (CAPPED, {}, OVER_CAP),
        (CAPPED, {"clouds": (CloudFact(model=GROQ, left=left(0)),)}, OVER_CAP),
    ],
)
def test_one_request_that_is_too_long_is_left_out_and_the_others_go_on(
    ask: Any, engine: FakeEngine, too_long: ModelRequest, known: dict[str, Any], problem: str
):
    with seats(engine, (TINY, (says('"good"'),)), (HEAVY, (says('"good"'),))) as desks:
        answers = ask(too_long, PUBLIC, PUBLIC, too_long, known=known)
    assert [answer.data for answer in answers] == [None, "good", "good", None]
    assert [(answer.failed, answer.problems) for answer in (answers[0], answers[3])] == [(True, [problem])] * 2
    assert desks.asked("tiny") + desks.asked("heavy") == 2 and desks.asked("heavy") == ("draw" in known)


@pytest.mark.parametrize(
    ("requests", "error", "why"),
    [
        ((LONG, LONG), NoRoute, "context too small"),
        ((LONG, CAPPED), NoRoute, "context too small"),
        ((CAPPED, CAPPED), BadInput, "its cap is 100"),
    ],
)
def test_when_all_are_too_long_it_is_an_error(
    ask: Any, requests: tuple[ModelRequest, ...], error: type[HotdeskError], why: str
):
    with pytest.raises(error, match=why):
        ask(*requests)


def test_what_a_tier_has_room_but_no_tokens_for_is_left_out_for_now(ask: Any, engine: FakeEngine):
    known = {"clouds": (CloudFact(model=GROQ, left=(TOKENS,)),), "profile": LOCAL.model_copy(update={"tiers": {}})}
    answers = ask(LONG, PUBLIC, known=known, cloud=lambda _request: said('"good"'))
    assert [answer.data for answer in answers] == [None, "good"]
    assert answers[0].problems == ["too long for now: no tier takes about 6304 tokens"]


def test_what_only_a_large_context_holds_goes_there_with_the_batch(ask: Any, engine: FakeEngine):
    known = {"clouds": (CloudFact(model=GROQ, left=left(0)),)}
    answers = ask(LONG, PUBLIC, known=known, cloud=lambda _request: said('"good"'))
    assert [answer.tier for answer in answers] == ["groq/big"] * 2
