"""One call to the cloud that goes wrong: whose fault it is, what it counts for, what all processes learn from it.

The tiers are fake ones, reached over real HTTP through the real client.
"""

import logging
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governor import cloud, inference, tier_states
from governor.errors import BadInput, ModelFailed, TierShut
from governor.settings import Home
from tests.fakes import cloud_texts as texts
from tests.fakes import cloud_tier as fakes
from tests.fakes.cloud_tier import FakeCloudTier, Scene, begins_and_ends, refuses, says, streams
from tests.unit.cloud_stage import (
    CALLS,
    SECRET,
    TWO_WAYS,
    account,
    ask,
    closed,
    cloud_account,
    everything_said,
    failures,
    request,
    uses,
)


@pytest.fixture(autouse=True, scope="module")
def imported():
    inference.warm_up()


@pytest.fixture(autouse=True)
def home(hotdesk_home: Home) -> Home:
    return hotdesk_home


# --- refusals, and what all processes learn from them


@pytest.mark.parametrize("provider", sorted(CALLS))
def test_too_many_calls_close_the_tier_for_as_long_as_it_says_and_the_next_call_is_spared(provider: str):
    with FakeCloudTier(refuses(429, texts.TOO_FAST, Retry_After="17")) as fake:
        one = account(fake, provider)
        before = datetime.now(UTC)
        with pytest.raises(TierShut) as caught:
            ask(one, deadline_seconds=5)
        with pytest.raises(TierShut):
            ask(one)
        assert fake.hits == 1
    assert timedelta(seconds=16.5) < caught.value.data["until"] - before < timedelta(seconds=18)
    shut = closed(one)
    assert shut is not None
    assert shut.closed_for == "rate"
    assert uses() == [("used", 0, 0.0)]


def test_a_call_on_its_way_is_spared_what_another_one_was_told_meanwhile(monkeypatch: pytest.MonkeyPatch):
    """Of fifty that begin at once many have reserved before the first is refused, and not sent yet."""
    until = datetime.now(UTC) + timedelta(seconds=50)
    send = inference.complete_in_cloud

    def slowly(*given: Any, **named: Any) -> inference.Completion:
        tier_states.close("groq/m", until, closed_for="rate", why="too many calls", now=datetime.now(UTC))
        time.sleep(cloud.LATE_SECONDS)
        return send(*given, **named)

    monkeypatch.setattr(inference, "complete_in_cloud", slowly)
    with FakeCloudTier(says("Hello")) as fake:
        with pytest.raises(TierShut) as caught:
            ask(account(fake))
        assert fake.hits == 0
    assert caught.value.data["until"] == until
    assert [state for state, _, _ in uses()] == ["returned"]


@pytest.mark.parametrize(
    ("provider", "body"),
    [("groq", texts.GROQ_DAY), ("gemini", texts.GEMINI_DAY), ("openrouter", texts.OPENROUTER_DAY)],
)
def test_a_spent_day_closes_the_tier_as_its_provider_words_it(provider: str, body: Any):
    with FakeCloudTier(refuses(429, body)) as fake:
        one = account(fake, provider)
        with pytest.raises(TierShut):
            ask(one)
    shut = closed(one)
    assert shut is not None
    assert shut.closed_for == "quota"
    assert shut.until > datetime.now(UTC) + timedelta(minutes=10)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("provider", sorted(CALLS))
def test_a_refused_key_closes_the_tier_for_an_hour_and_is_named_nowhere(
    provider: str, status: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.DEBUG)
    with FakeCloudTier(refuses(status, texts.WRONG_KEY)) as fake:
        one = account(fake, provider)
        with pytest.raises(TierShut) as caught:
            ask(one)
        assert fake.hits == 1
    shut = closed(one)
    assert shut is not None
    assert shut.closed_for == "key"
    assert timedelta(minutes=59) < shut.until - datetime.now(UTC) <= timedelta(hours=1)
    output = capfd.readouterr()
    for text in (everything_said(caught.value), shut.why, caplog.text, output.out, output.err, repr(one)):
        assert texts.KEY not in text
        assert SECRET not in text


def test_another_key_is_tried_at_once():
    with FakeCloudTier(refuses(401, texts.WRONG_KEY), says("Hello")) as fake:
        for _ in range(2):
            with pytest.raises(TierShut):
                ask(account(fake))
        assert fake.hits == 1
        assert ask(account(fake, key="another")).text == "Hello"
        assert fake.keys == [texts.KEY, "another"]


def test_a_wrong_key_that_gemini_calls_a_bad_request_is_a_wrong_key():
    with FakeCloudTier(refuses(400, texts.GEMINI_WRONG_KEY)) as fake:
        one = account(fake, "gemini")
        with pytest.raises(TierShut):
            ask(one)
    shut = closed(one)
    assert shut is not None
    assert shut.closed_for == "key"


@pytest.mark.parametrize("provider", sorted(CALLS))
def test_a_prompt_that_is_too_long_is_bad_input_of_the_one_tier(provider: str):
    with FakeCloudTier(refuses(400, texts.TOO_LONG)) as fake:
        one = account(fake, provider)
        with pytest.raises(BadInput, match="context") as caught:
            ask(one)
    assert caught.value.data["engine"] == provider  # so that another tier is tried
    assert closed(one) is None


def test_a_prompt_that_litellm_counts_as_too_long_never_leaves():
    with FakeCloudTier(says("Hello")) as fake:
        with pytest.raises(BadInput, match="context"):
            ask(account(fake, context_tokens=256), request(prompt="word " * 400))
        assert fake.hits == 0
    assert [state for state, _, _ in uses()] == ["returned"]


# --- failures of the tier


BROKEN: dict[str, tuple[Scene, str]] = {
    "5xx": (refuses(503, texts.BUSY), "503"),
    "5xx as a page": (refuses(502, texts.PAGE), "502"),
    "a page instead of an answer": (streams(texts.PAGE, kind="text/html"), "web page"),
    "JSON instead of a stream": (streams('{"choices": []}', kind="application/json"), "middle"),
    "no JSON": (streams("data: {not json\n\n"), "middle"),
    "nothing": (streams(), "middle"),
    "half an answer, in good order": (begins_and_ends("Hel", "lo"), "middle"),
    "half an answer, then no connection": (fakes.begins_and_breaks("Hel", "lo"), "middle"),
    "no answer, then no connection": (fakes.drops, "without an answer"),
    "an error within the answer": (streams('data: {"error": {"message": "overloaded", "code": 503}}\n\n'), "middle"),
}


@pytest.mark.parametrize("case", sorted(BROKEN))
@pytest.mark.parametrize("provider", TWO_WAYS)
def test_a_tier_that_fails_is_asked_once_and_left_alone_for_a_while(provider: str, case: str):
    scene, word = BROKEN[case]
    with FakeCloudTier(scene) as fake:
        one = account(fake, provider)
        with pytest.raises(ModelFailed, match=word) as caught:
            ask(one)
        assert fake.hits == 1
    assert caught.value.data["retryable"] is True
    shut = closed(one)
    assert shut is not None
    assert shut.closed_for == "broken"
    [(state, tokens, _)] = uses()
    assert state == "used"
    assert SECRET not in everything_said(caught.value)
    assert tokens == 0 if case.startswith("5xx") else tokens > 64


@pytest.mark.parametrize(
    ("provider", "scene"),
    [
        ("groq", fakes.hangs),
        ("cerebras", fakes.hangs),
        ("gemini", fakes.hangs),
        ("groq", fakes.begins_and_hangs),
        ("gemini", fakes.drips(*"endless", every_seconds=0.2)),
    ],
)
def test_a_tier_that_takes_too_long_is_left_and_hears_of_it(provider: str, scene: Scene):
    with FakeCloudTier(scene) as fake:
        one = account(fake, provider)
        began_s = time.monotonic()
        with pytest.raises(ModelFailed, match="within") as caught:
            ask(one, deadline_seconds=0.6)
        assert time.monotonic() - began_s < 3
        assert scene is not fakes.hangs or fake.client_left.wait(3)
    assert caught.value.data["retryable"] is True
    assert failures(one) == 1


def test_an_answer_that_nobody_wants_any_more_counts_and_is_no_fault_of_the_tier():
    unwanted = threading.Event()
    with FakeCloudTier(fakes.begins_and_hangs) as fake:
        one = account(fake)
        threading.Timer(0.2, unwanted.set).start()
        with pytest.raises(inference.Unwanted):
            ask(one, unwanted=unwanted.is_set)
        assert fake.client_left.wait(3)
    assert failures(one) == 0
    assert [state for state, _, _ in uses()] == ["used"]


@pytest.mark.parametrize("provider", TWO_WAYS)
@pytest.mark.parametrize("piece", [1000, 4 * 1024 * 1024])
def test_an_answer_of_ten_megabytes_is_cut_off(provider: str, piece: int):
    with FakeCloudTier(fakes.floods(10, piece=piece)) as fake:
        one = account(fake, provider)
        with pytest.raises(ModelFailed, match="far more than it was asked for"):
            ask(one)
    assert failures(one) == 1


@pytest.mark.parametrize("provider", TWO_WAYS)
def test_a_redirect_is_not_followed(provider: str):
    with FakeCloudTier(says("stolen")) as thief, FakeCloudTier(refuses(307, {}, Location=f"{thief.address}/x")) as fake:
        with pytest.raises(ModelFailed, match="points elsewhere"):
            ask(account(fake, provider))
        assert (fake.hits, thief.hits) == (1, 0)


@pytest.mark.parametrize("provider", TWO_WAYS)
def test_a_tier_that_cannot_be_reached_gives_the_call_back(provider: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    one = account(None, provider, api_base=nobody)
    with pytest.raises(ModelFailed, match="cannot be reached"):
        ask(one)
    assert failures(one) == 1
    assert [state for state, _, _ in uses()] == ["returned"]


def test_a_name_that_nobody_knows_gives_the_call_back():
    with pytest.raises(ModelFailed, match="cannot be reached"):
        ask(account(None, api_base="http://tier.invalid"))
    assert [state for state, _, _ in uses()] == ["returned"]


def test_an_error_that_is_the_request_s_own_fault_is_not_the_tier_s():
    body = {"error": {"message": f"bad field in {SECRET}", "code": "unsupported_parameter"}}
    with FakeCloudTier(refuses(422, body)) as fake:
        one = account(fake)
        with pytest.raises(ModelFailed, match="422, unsupported_parameter") as caught:
            ask(one)
    assert caught.value.data["retryable"] is False
    assert SECRET not in str(caught.value)
    assert (closed(one), failures(one)) == (None, 0)


def test_a_tier_that_litellm_cannot_call_fails_alone_and_is_given_back():
    """Of a document of an operator's: one that is wrong must not keep the others from being called."""
    with FakeCloudTier(says("Hello")) as fake:
        wrong = cloud_account(fake.address, "nobody/m", calls="nobody/m")
        with pytest.raises(ModelFailed, match="cannot be asked like that") as caught:
            ask(wrong)
        inference.warm_up([wrong, account(fake)])
        assert ask(account(fake)).text == "Hello"
        assert fake.hits == 1
    assert caught.value.data["retryable"] is False
    assert [state for state, _, _ in uses()] == ["returned", "used"]


def test_an_answer_that_the_provider_withholds_is_no_answer_and_no_fault_of_the_tier():
    with FakeCloudTier(says("Hel", finish="content_filter")) as fake:
        one = account(fake)
        with pytest.raises(ModelFailed, match="withheld") as caught:
            ask(one)
    assert caught.value.data["retryable"] is False
    assert failures(one) == 0


def test_an_answer_forgives_the_failures_before_it():
    with FakeCloudTier(refuses(500, texts.BUSY), says("Hello")) as fake:
        one = account(fake)
        with pytest.raises(ModelFailed):
            ask(one)
        assert tier_states.reopen(one.model.name)
        ask(one)
    assert failures(one) == 0
