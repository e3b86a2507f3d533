"""What providers write when they refuse (the table is in `refusal_texts`), and what follows from it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from governor.policy.provider_refusals import READ_CHARACTERS, ProviderRefusal, read_refusal
from governor.policy.requests import Allowance, CloudModel, Span
from governor.policy.waiting_times import asked_seconds, length_seconds, reset_seconds, retry_after_seconds
from tests.unit.refusal_texts import BILLION, MIDNIGHT, NOON, OLLAMA_CALLS, TOO_MANY, after, error, model


def refused(
    tier: CloudModel, body: str, *, status: int = 429, now: datetime = NOON, **headers: str
) -> ProviderRefusal | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_refusal(tier, status=status, headers=named, body=body, now=now)


@pytest.mark.parametrize(("tier", "body", "headers", "closed_for", "until"), TOO_MANY)
def test_a_spent_allowance_closes_until_it_begins_anew_and_haste_only_for_a_moment(
    tier: str | CloudModel, body: str, headers: dict[str, str], closed_for: str, until: datetime
):
    named = model(tier, **OLLAMA_CALLS.get(tier, {})) if isinstance(tier, str) else tier
    found = read_refusal(named, status=429, headers=headers, body=body, now=NOON)
    assert found is not None
    assert found.closed_for == closed_for
    assert abs(found.until - until) < timedelta(milliseconds=1), (found.until, until)
    assert found.why.startswith(named.provider)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("12", 12),
        ("0.5", 1),  # not at once again
        ("7.25", 7.25),
        ("Wed, 25 Nov 2026 12:01:30 GMT", 90),
        ("Wed, 25 Nov 2026 11:59:00 GMT", 20),  # gone by
        ("Wed, 31 Feb 2026 12:00:00 GMT", 20),
        ("0", 20),
        ("-30", 20),
        ("nan", 20),
        ("inf", 20),
        ("soon", 20),
        ("1e9", 20),
        ("", 20),
        ("99999999999999", 3600),
        ("9" * 400, 20),
        ("Fri, 25 Nov 2050 12:00:00 GMT", 3600),
        ("7200", 3600),
    ],
)
def test_a_rate_backs_off_as_asked_and_never_for_more_than_an_hour(value: str, seconds: float):
    found = refused(model("someone/model"), "slow down", Retry_After=value)
    assert found is not None
    assert (found.closed_for, found.until) == ("rate", after(seconds))


def test_an_http_date_is_read_by_the_clock_of_the_provider():
    dates = {"Date": "Wed, 25 Nov 2026 10:30:00 GMT", "Retry-After": "Wed, 25 Nov 2026 10:30:40 GMT"}
    found = read_refusal(model("someone/model"), status=429, headers=dates, body="slow down", now=NOON)
    assert found is not None and found.until == after(40)


def test_headers_are_known_with_the_prefix_of_litellm_too():
    headers = {"llm_provider-Retry-After": "33"}
    found = read_refusal(model("someone/model"), status=429, headers=headers, body="", now=NOON)
    assert found is not None and found.until == after(33)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("7m12.5s", 432.5),
        ("1h2m3s", 3723),
        ("2m59.56s", 179.56),
        ("820ms", 0.82),
        ("1d", 86_400),
        ("2 minutes", 120),
        ("1 hour, 5 min", 3900),
        ("6.5", 6.5),
        ("0s", None),
        ("-5s", None),
        ("5 parsecs", None),
        ("12s or so", None),
        ("", None),
    ],
)
def test_lengths_of_time_are_read_in_every_notation(written: str, seconds: float | None):
    assert length_seconds(written) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 7m12s. Visit us", 432),
        ("Please retry in 20.04466179s.", 20.04466179),
        ("retry after 30 min", 1800),
        ("try again in a while", None),
        ("again in 5", None),
        ("nothing", None),
    ],
)
def test_the_wait_that_a_text_asks_for_is_found(text: str, seconds: float | None):
    assert asked_seconds(text) == (None if seconds is None else pytest.approx(seconds))


def test_a_reset_is_a_length_a_second_or_a_millisecond():
    moment = NOON.timestamp()
    assert reset_seconds("59.5", NOON) == 59.5
    assert reset_seconds(str(moment + 60), NOON) == pytest.approx(60)
    assert reset_seconds(str(int(moment * 1000) + 60_000), NOON) == pytest.approx(60)
    assert reset_seconds(str(moment - 60), NOON) is None
    assert retry_after_seconds({}, NOON) is None


def test_right_after_midnight_a_refusal_may_be_that_of_the_day_before():
    tier, body = model("zai/glm-flash"), error("Daily call limit for this API reached.", code="1304")
    soon = refused(tier, body, now=MIDNIGHT + timedelta(seconds=2))
    later = refused(tier, body, now=MIDNIGHT + timedelta(minutes=5))
    assert soon is not None and soon.until == MIDNIGHT + timedelta(minutes=5)
    assert later is not None and later.until == MIDNIGHT + timedelta(days=1)


def test_a_spent_allowance_closes_for_no_longer_than_its_span_lasts():
    body = error("Daily call limit reached. Your limit will reset at 2027-02-01 00:00:00", code="1304")
    found = refused(model("zai/glm-flash"), body)
    assert found is not None and found.until == after(86_400)


def test_an_allowance_that_the_catalogue_says_slides_is_asked_again_after_a_while():
    month = BILLION.model_copy(update={"slides": True})
    found = refused(model("someone/model", allowances=(month,)), error("monthly limit reached"))
    assert found is not None and found.until == after(86_400)


@pytest.mark.parametrize(
    ("name", "status", "body", "closed_for"),
    [
        ("groq/big", 401, error("Invalid API Key"), "key"),
        ("nvidia_nim/nemotron", 403, '{"status":403,"title":"Forbidden","detail":"Authorization failed"}', "key"),
        (
            "gemini/flash",
            400,
            error("API key not valid. Please pass a valid API key.", status="INVALID_ARGUMENT"),
            "key",
        ),
        ("openrouter/gemma:free", 402, error("Insufficient credits", code=402), "key"),
        (
            "zai/glm-flash",
            429,
            error("Insufficient balance or no resource package. Please recharge.", code="1113"),
            "key",
        ),
        ("someone/model", 429, error("You exceeded your current quota", type="insufficient_quota"), "key"),
        ("groq/big", 404, error("The model `x` does not exist"), "gone"),
        ("someone/model", 410, "", "gone"),
    ],
)
def test_what_a_person_must_set_right_closes_for_an_hour(name: str, status: int, body: str, closed_for: str):
    found = refused(model(name), body, status=status)
    assert found is not None
    assert (found.closed_for, found.until) == (closed_for, after(3600))


@pytest.mark.parametrize(
    ("name", "status", "body"),
    [
        ("openrouter/gemma:free", 403, error("Your chosen model requires moderation and your input was flagged")),
        ("groq/big", 400, error("API key not valid")),
        ("groq/big", 413, error("Request too large for model on tokens per minute (TPM): Limit 6000, Requested 8000")),
        ("groq/big", 422, "{}"),
        ("groq/big", 500, error("daily quota exceeded")),
        ("gemini/flash", 503, error("The model is overloaded.")),
        ("groq/big", 200, "{}"),
        ("groq/big", 408, ""),
    ],
)
def test_what_is_about_one_call_or_for_the_count_of_failures_closes_nothing(name: str, status: int, body: str):
    assert refused(model(name), body, status=status, Retry_After="60") is None


KEYS = {"key_variables": ("GROQ_API_KEY",)}
DAY = Allowance(unit="requests", span=Span.DAY, amount=50)
SHARED = {"allowances": (DAY.model_copy(update={"shared": True}),), **KEYS}
SPENT = error("Daily quota exceeded")


@pytest.mark.parametrize(
    ("status", "body", "facts", "sibling", "is_closed"),
    [
        (401, "{}", KEYS, model("groq/small", **KEYS), True),
        (403, "{}", KEYS, model("groq/small", **KEYS, free=True), True),
        (401, "{}", KEYS, model("groq/small", key_variables=("ANOTHER_KEY",)), False),
        (401, "{}", KEYS, model("groqs/small", **KEYS), False),
        (402, "{}", KEYS, model("groq/small", **KEYS), False),  # what costs nothing may go on
        (404, "{}", KEYS, model("groq/small", **KEYS), False),
        (429, SPENT, SHARED, model("groq/small", **SHARED), True),
        (429, SPENT, SHARED, model("groqs/small", **SHARED), False),
        (429, SPENT, SHARED, model("groq/small", allowances=(DAY,), **KEYS), False),
        (429, SPENT, {"allowances": (DAY,), **KEYS}, model("groq/small", **SHARED), False),
        (429, error("monthly quota exceeded"), SHARED, model("groq/small", **SHARED), False),
        (429, error("slow down"), SHARED, model("groq/small", **SHARED), False),
    ],
)
def test_a_refusal_concerns_who_is_called_with_the_same_key_or_shares_what_is_spent(
    status: int, body: str, facts: dict[str, Any], sibling: CloudModel, is_closed: bool
):
    tier = model("groq/big", **facts)
    found = refused(tier, body, status=status)
    assert found is not None
    assert found.also_closes(tier, [tier, sibling]) == ((sibling.name,) if is_closed else ())


def test_nothing_that_the_provider_wrote_is_repeated():
    for status in (401, 402, 404, 429):
        found = refused(model("groq/big"), error("key sk-secret of org_secret per day"), status=status)
        assert found is not None and "secret" not in found.why


def test_ten_megabytes_are_read_no_further_than_their_beginning():
    quiet = "x" * READ_CHARACTERS
    found = refused(model("someone/model"), quiet + " per day " * 1_000_000)
    assert found is not None and found.closed_for == "rate"
    found = refused(model("someone/model"), "1" * 10_000_000, Retry_After="1" * 1_000_000)
    assert found is not None and found.until == after(20)
