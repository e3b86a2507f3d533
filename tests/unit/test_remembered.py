"""What has not changed is not asked again; what never passed is left alone after some tries; rules judge anew."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from governor import remembered
from governor.answers import Answer
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest
from governor.settings import Home

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
AGENT = "triage/inbox"
GOOD = Answer("bug", "bug", True, [], tier="tiny", model="m", demo=True, reason="fits", parameters_billion=0.135)
BAD = replace(GOOD, text="drivel", data=None, verified=False, problems=["'drivel' is none of the choices"])


def recall(agent: str, requests: Sequence[ModelRequest], *, largest: float = 0.135, now: datetime = NOW):
    return remembered.recall(agent, requests, now=now, largest=lambda _request: largest)


def request(**changes: object) -> ModelRequest:
    said = {"kind": Kind.CLASSIFY, "prompt": "It crashes.", "choices": ("bug", "feature")} | changes
    return ModelRequest.model_validate(said)


def test_the_same_request_of_the_same_agent_is_answered_without_a_model(hotdesk_home: Home):
    assert recall(AGENT, [request()]) == [None]
    remembered.remember(AGENT, [request()], [GOOD], now=NOW)
    [again] = recall(AGENT, [request()])
    assert again is not None
    assert (again.text, again.data, again.verified, again.demo) == ("bug", "bug", True, True)
    assert again.reason == "answered before, 2026-11-25"
    assert recall("triage/support", [request()]) == [None]


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "It hangs."},
        {"kind": Kind.SUMMARISE, "choices": None},
        {"choices": ("bug", "feature", "question")},
        {"system": "Be brief."},
        {"inputs": {"mail": "x"}},
        {"max_tokens": 9},
        {"votes": 3},
        {"quality": "good"},
        {"choices": None, "json_schema": {"type": "object"}},
    ],
)
def test_whatever_would_change_the_answer_is_asked_anew(hotdesk_home: Home, change: dict[str, object]):
    remembered.remember(AGENT, [request()], [GOOD], now=NOW)
    assert recall(AGENT, [request(**change)]) == [None]


def test_a_rule_that_has_become_stricter_is_heard(hotdesk_home: Home):
    remembered.remember(AGENT, [request()], [GOOD], now=NOW)
    strict = request().model_copy(update={"verifier": lambda _text: ["not like this any more"]})
    assert recall(AGENT, [strict]) == [None]


def test_what_did_not_pass_is_tried_again_some_times_and_then_left_alone(hotdesk_home: Home):
    for _ in range(remembered.MOST_TRIES):
        assert recall(AGENT, [request()]) == [None]
        remembered.remember(AGENT, [request()], [BAD], now=NOW)
    [left] = recall(AGENT, [request()])
    assert left is not None and not left.verified
    assert left.problems == ["'drivel' is none of the choices"]


def test_an_answer_that_passes_at_last_stands(hotdesk_home: Home):
    remembered.remember(AGENT, [request()], [BAD], now=NOW)
    remembered.remember(AGENT, [request()], [GOOD], now=NOW)
    [found] = recall(AGENT, [request()])
    assert found is not None and found.verified


@pytest.mark.parametrize(("answer", "asked"), [(GOOD, True), (BAD, True), (replace(GOOD, demo=False), False)])
def test_a_larger_model_is_asked_what_the_demo_model_said_and_what_a_smaller_one_could_not_do(
    hotdesk_home: Home, answer: Answer, asked: bool
):
    for _ in range(remembered.MOST_TRIES):
        remembered.remember(AGENT, [request()], [answer], now=NOW)
    assert recall(AGENT, [request()]) != [None]
    assert (recall(AGENT, [request()], largest=7.0) == [None]) is asked


def test_what_once_passed_is_not_lost_to_a_worse_try_of_a_larger_model(hotdesk_home: Home):
    remembered.remember(AGENT, [request()], [GOOD], now=NOW)
    remembered.remember(AGENT, [request()], [replace(BAD, parameters_billion=7.0)], now=NOW)
    [found] = recall(AGENT, [request()])
    assert found is not None and found.verified


def test_a_larger_model_has_all_its_tries(hotdesk_home: Home):
    for _ in range(remembered.MOST_TRIES):
        remembered.remember(AGENT, [request()], [BAD], now=NOW)
    for _ in range(remembered.MOST_TRIES):
        assert recall(AGENT, [request()], largest=7.0) == [None]
        remembered.remember(AGENT, [request()], [replace(BAD, parameters_billion=7.0)], now=NOW)
    assert recall(AGENT, [request()], largest=7.0) != [None]


def test_what_did_not_pass_never_counts_as_verified_because_a_rule_has_gone(hotdesk_home: Home):
    prose = request(kind=Kind.SUMMARISE, choices=None)
    failed = replace(BAD, text="Some prose that a rule refused.")
    for _ in range(remembered.MOST_TRIES):
        remembered.remember(AGENT, [prose], [failed], now=NOW)
    [left] = recall(AGENT, [prose])
    assert left is not None and not left.verified


def test_calls_without_an_answer_and_vectors_are_not_kept(hotdesk_home: Home):
    vectors = request(kind=Kind.EMBED, choices=None, inputs={"a": "b"})
    remembered.remember(AGENT, [request(), vectors], [replace(BAD, failed=True), replace(GOOD, data=[[1.0]])], now=NOW)
    assert recall(AGENT, [request(), vectors]) == [None, None]


def test_twins_in_one_batch_are_one_row(hotdesk_home: Home):
    remembered.remember(AGENT, [request(), request()], [GOOD, GOOD], now=NOW)
    assert None not in recall(AGENT, [request(), request()])


def test_old_answers_are_forgotten_and_one_agent_can_be_made_to(hotdesk_home: Home):
    remembered.remember(AGENT, [request()], [GOOD], now=NOW)
    remembered.prune(NOW + timedelta(days=remembered.KEPT_DAYS - 1))
    assert recall(AGENT, [request()]) != [None]
    later = NOW + timedelta(days=remembered.KEPT_DAYS - 1)
    assert recall(AGENT, [request()], now=later) != [None]
    remembered.prune(NOW + timedelta(days=remembered.KEPT_DAYS + 1))  # it was of use since
    assert recall(AGENT, [request()]) != [None]
    remembered.prune(later + timedelta(days=remembered.KEPT_DAYS + 1))
    assert recall(AGENT, [request()]) == [None]
    for agent in (AGENT, "digest/news"):
        remembered.remember(agent, [request()], [GOOD], now=NOW)
    assert remembered.forget(AGENT) == 1
    assert recall(AGENT, [request()]) == [None]
    assert recall("digest/news", [request()]) != [None]
