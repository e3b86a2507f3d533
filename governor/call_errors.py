"""What an exception of litellm's means: to whom the call went, whether asking again helps, what a provider said.

The facts are those of `governor.call_wire`; litellm's exceptions keep the status of some providers and the headers of
others. They also quote whatever a provider wrote, which quotes prompts and keys: of that nothing goes into a message of
ours. litellm is passed in.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx

from governor.call_wire import Wire
from governor.errors import BadInput, HotdeskError, ModelFailed

# What providers call their errors: `model_decommissioned`, `RESOURCE_EXHAUSTED`. Anything longer may be a quotation.
ERROR_NAME = re.compile(r"[A-Za-z][A-Za-z_]{2,39}")
# Statuses that come as an error inside an answer that began with 200.
REFUSALS_IN_A_STREAM = frozenset({401, 402, 403, 429})


class Went(StrEnum):
    """How a cloud call went that gave no answer."""

    HELD_BACK = "held_back"  # by litellm's own limits or a busy machine; nothing was sent
    NOT_SENT = "not_sent"  # litellm could make no request of it
    UNREACHABLE = "unreachable"
    TOO_LONG = "too_long"  # for the model's context
    REFUSED = "refused"  # with a status
    BROKEN = "broken"  # no answer, or half of one, or something else
    WITHHELD = "withheld"  # by the provider's filter of contents


@dataclass
class CloudFailure(Exception):
    """A cloud call that gave no answer. Only `what` is for people.

    Attributes:
        sent: whether anything left this machine. what: what the tier did, in our words, to follow its name.
        status: of HTTP. headers, body: of a refusal, as the provider wrote them.
    """

    went: Went
    what: str
    sent: bool = True
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"it {self.what}"


class AnswerTooLong(Exception):
    """The answer is longer than the request allows; the rest was not read."""


def broke(error: BaseException) -> bool:
    """Whether an open connection broke, as opposed to an answer with an error or nobody there."""
    return any(isinstance(cause, httpx.RemoteProtocolError | httpx.ReadError) for cause in _causes(error))


def local_error(litellm: Any, error: Exception, parameters: dict[str, Any], deadline_seconds: float) -> HotdeskError:
    """What became of a call to an engine of this machine."""
    kinds = litellm.exceptions
    if isinstance(error, litellm.ContextWindowExceededError):
        return BadInput(
            "The prompt is longer than the model's context.",
            means="The model wrote nothing.",
            remedy="Give it less at once: lower the agent's caps on items or on text.",
            model=_name(parameters),
        )
    if isinstance(error, TimeoutError | kinds.Timeout | httpx.TimeoutException):
        return local_failure(parameters, f"gave no full answer within {deadline_seconds:.0f} s", retryable=True)
    if isinstance(error, AnswerTooLong):
        return local_failure(parameters, "wrote far more than it was asked for", retryable=False)
    if any(isinstance(cause, httpx.ConnectError | ConnectionRefusedError) for cause in _causes(error)):
        return local_failure(parameters, "is not there any more: the connection was refused", retryable=False)
    wrong_request = (kinds.BadRequestError, kinds.AuthenticationError, kinds.NotFoundError)
    return local_failure(parameters, f"failed: {str(error)[:200]}", retryable=not isinstance(error, wrong_request))


def local_failure(parameters: dict[str, Any], what: str, *, retryable: bool) -> ModelFailed:
    """An engine of this machine gave no usable answer."""
    return ModelFailed(
        f"The model {_name(parameters)} {what}.",
        means="What it had said was discarded.",
        remedy="It is asked again or the request takes another route; `hotdesk status` shows what is in memory.",
        model=_name(parameters),
        engine=parameters.get("api_base"),
        retryable=retryable,
    )


def cloud_failure(litellm: Any, error: Exception, wire: Wire, deadline_seconds: float) -> CloudFailure:
    """What became of a call to the cloud."""
    if not wire.sent:
        return _not_sent(litellm, error, wire, deadline_seconds)
    if wire.status is not None and wire.status >= 300:
        return _refused(litellm, error, wire, wire.status)
    if wire.is_too_long or isinstance(error, AnswerTooLong):
        return CloudFailure(Went.BROKEN, "wrote far more than it was asked for")
    if isinstance(error, TimeoutError | litellm.exceptions.Timeout):
        return CloudFailure(Went.BROKEN, f"gave no full answer within {deadline_seconds:.0f} s")
    status = getattr(error, "status_code", None)
    if wire.status is not None and status in REFUSALS_IN_A_STREAM:
        return CloudFailure(Went.REFUSED, f"broke off with an error ({status})", True, status, wire.headers, str(error))
    if wire.status is None:
        return CloudFailure(Went.BROKEN, "closed the connection without an answer")
    return CloudFailure(Went.BROKEN, "broke off in the middle of its answer")


def half_an_answer(wire: Wire) -> CloudFailure:
    """The stream ended in good order, and not the answer: litellm says `stop` then."""
    if wire.headers.get("content-type", "").startswith("text/html"):
        return CloudFailure(Went.BROKEN, "answered with a web page instead of an answer")
    return CloudFailure(Went.BROKEN, "ended in the middle of its answer")


def _not_sent(litellm: Any, error: Exception, wire: Wire, deadline_seconds: float) -> CloudFailure:
    if isinstance(error, TimeoutError):
        what = f"was not asked within {deadline_seconds:.0f} s, by no fault of its own"
        return CloudFailure(Went.HELD_BACK, what, sent=False)
    if wire.unreachable:
        return CloudFailure(Went.UNREACHABLE, "cannot be reached", sent=False)
    if wire.strayed:
        return CloudFailure(Went.HELD_BACK, "was closed while the call was on its way", sent=False)
    if isinstance(error, litellm.ContextWindowExceededError):
        return CloudFailure(Went.TOO_LONG, "has too small a context for the prompt", sent=False)
    limits = (litellm.RateLimitError, litellm.types.router.RouterRateLimitError)
    if isinstance(error, (*limits, litellm.types.router.RouterRateLimitErrorBasic)):
        return CloudFailure(Went.HELD_BACK, "was called often enough by this process for a moment", sent=False)
    return CloudFailure(Went.NOT_SENT, f"cannot be asked like that ({type(error).__name__})", sent=False)


def _refused(litellm: Any, error: Exception, wire: Wire, status: int) -> CloudFailure:
    body = wire.body.decode("utf-8", "replace")
    if 300 <= status < 400:
        return CloudFailure(Went.BROKEN, f"points elsewhere ({status}), where no prompt goes", True, status)
    says_so = litellm.litellm_core_utils.exception_mapping_utils.ExceptionCheckers
    is_context = isinstance(error, litellm.ContextWindowExceededError)
    if status == 413 or is_context or (status == 400 and says_so.is_error_str_context_window_exceeded(body)):
        return CloudFailure(Went.TOO_LONG, "has too small a context for the prompt", True, status, wire.headers, body)
    name = _error_name(body)
    what = f"answered with an error ({status}{', ' + name if name else ''})"
    return CloudFailure(Went.REFUSED, what, True, status, wire.headers, body)


def _error_name(body: str) -> str:
    try:
        error = json.loads(body)["error"]
        names = [str(error.get(key, "")) for key in ("code", "status", "type")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return ""
    return next((name for name in names if ERROR_NAME.fullmatch(name)), "")


def _causes(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _name(parameters: dict[str, Any]) -> str:
    """The model as people know it, without litellm's prefix for the wire format."""
    return parameters["model"].partition("/")[2] or parameters["model"]
