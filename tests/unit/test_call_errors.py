"""What an exception of litellm's means, from the facts of the wire: whose fault, whether to ask again, what to say."""

import json
from typing import Any

import httpx
import pytest

from governor import call_errors, inference
from governor.call_errors import AnswerTooLong, Went, cloud_failure, half_an_answer
from governor.call_wire import Wire

SECRET = "zebra-4711"


@pytest.fixture(scope="module")
def litellm() -> Any:
    inference.warm_up()
    return inference._litellm()


def wire(status: int | None = None, body: Any = None, *, sent: bool = True, **more: Any) -> Wire:
    found = Wire(None, 1000, sent=sent, **more)
    if status is not None:
        found.answered(httpx.Response(status, headers={"Retry-After": "7"}))
        found.body = json.dumps(body).encode() if body is not None else b""
    return found


def error(litellm: Any, name: str) -> Exception:
    more = {"status_code": 500} if name == "APIError" else {}
    return getattr(litellm, name)(message=SECRET, model="m", llm_provider="p", **more)


CASES: list[tuple[str, Wire, str, Went, str]] = [
    ("APIConnectionError", wire(sent=False, unreachable=True), "unreachable", Went.UNREACHABLE, "cannot be reached"),
    ("ContextWindowExceededError", wire(sent=False), "counted here", Went.TOO_LONG, "context"),
    ("RateLimitError", wire(sent=False), "limited here", Went.HELD_BACK, "by this process"),
    ("UnsupportedParamsError", wire(sent=False), "no request of it", Went.NOT_SENT, "UnsupportedParamsError"),
    ("RateLimitError", wire(429, {}), "rate", Went.REFUSED, "(429)"),
    (
        "APIError",
        wire(403, {"error": {"status": "PERMISSION_DENIED"}}),
        "named",
        Went.REFUSED,
        "(403, PERMISSION_DENIED)",
    ),
    ("APIError", wire(500, {"error": {"code": f"say {SECRET}"}}), "quoted", Went.REFUSED, "(500)"),
    ("APIError", wire(500, {"error": SECRET}), "odd", Went.REFUSED, "(500)"),
    ("APIError", wire(500, [SECRET]), "odder", Went.REFUSED, "(500)"),
    ("APIError", wire(302), "redirect", Went.BROKEN, "points elsewhere (302)"),
    ("ContextWindowExceededError", wire(400, {}), "litellm knows", Went.TOO_LONG, "context"),
    ("APIError", wire(413, {}), "too large", Went.TOO_LONG, "context"),
    ("Timeout", wire(200), "hang", Went.BROKEN, "within 3 s"),
    ("APIConnectionError", wire(), "no answer", Went.BROKEN, "without an answer"),
    ("APIConnectionError", wire(200), "half", Went.BROKEN, "in the middle"),
    ("APIConnectionError", wire(200, is_too_long=True), "flood", Went.BROKEN, "far more"),
    ("RateLimitError", wire(200), "in the stream", Went.REFUSED, "(429)"),
]


@pytest.mark.parametrize(("name", "on_the_wire", "_case", "went", "words"), CASES, ids=[case[2] for case in CASES])
def test_a_failure_is_told_by_what_went_over_the_wire(
    litellm: Any, name: str, on_the_wire: Wire, _case: str, went: Went, words: str
):
    failure = cloud_failure(litellm, error(litellm, name), on_the_wire, 3.0)
    assert failure.went is went
    assert words in failure.what
    assert failure.sent is on_the_wire.sent
    for said in (failure.what, str(failure), repr(failure)):
        assert SECRET not in said


def test_what_a_provider_wrote_is_kept_for_reading_only(litellm: Any):
    body = {"error": {"message": SECRET}}
    failure = cloud_failure(litellm, error(litellm, "RateLimitError"), wire(429, body), 3.0)
    assert (failure.status, failure.headers["retry-after"], SECRET in failure.body) == (429, "7", True)


@pytest.mark.parametrize("raised", [TimeoutError(), AnswerTooLong(), ValueError(SECRET)])
def test_exceptions_that_are_not_litellm_s_are_understood_too(litellm: Any, raised: Exception):
    failure = cloud_failure(litellm, raised, wire(200), 3.0)
    assert failure.went is Went.BROKEN
    assert SECRET not in failure.what


def test_a_machine_that_is_too_busy_to_send_is_no_fault_of_the_tier(litellm: Any):
    failure = cloud_failure(litellm, TimeoutError(), wire(sent=False), 3.0)
    assert (failure.went, failure.sent) == (Went.HELD_BACK, False)


@pytest.mark.parametrize(("kind", "words"), [("text/html; charset=utf-8", "web page"), ("text/event-stream", "middle")])
def test_a_stream_that_ended_without_its_end_is_half_an_answer(kind: str, words: str):
    found = wire()
    found.answered(httpx.Response(200, headers={"Content-Type": kind}))
    assert words in half_an_answer(found).what


@pytest.mark.parametrize(
    ("raised", "is_broken"),
    [
        (httpx.RemoteProtocolError("x"), True),
        (httpx.ReadError("x"), True),
        (httpx.ConnectError("x"), False),
        (ValueError("x"), False),
    ],
)
def test_only_a_connection_that_broke_is_tried_once_more(raised: Exception, is_broken: bool):
    above = ValueError("wrapped")
    above.__cause__ = raised
    assert call_errors.broke(above) is is_broken
