"""One call to a tier of the cloud: whether it may be made, what it used, and what all processes learn from it.

Privacy comes first, then the reservation (`governor.ledger`), then the call (`governor.inference`, which nobody else
lets out of this machine), then what it took and what the tier said (`governor.tier_states`). Which tier is asked, and
what comes after it, is decided elsewhere (`policy.routing`, `governor.asking`).
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from governor import inference, ledger, tier_states
from governor.accounts import CloudAccount
from governor.call_errors import CloudFailure, Went
from governor.errors import BadInput, HotdeskError, ModelFailed, StateUnavailable, TierShut
from governor.events import log_event
from governor.inference import Completion
from governor.ledger import Reservation
from governor.policy.facts import Kind
from governor.policy.provider_refusals import read_refusal
from governor.policy.requests import CloudModel, ModelRequest
from governor.policy.tokens import input_tokens, needed_tokens
from governor.routers import private_error
from governor.tier_catalogue import catalogue

# litellm counts calls a minute from the first one on and the ledger in any minute: they differ by milliseconds.
HELD_BACK_SECONDS = 2.0
# From the reservation to the first byte a warm process takes 15 ms (measured), one that never called 0.2 s, one of
# fifty that begin at once seconds. After this it looks again whether the tier is open: another one may have been told.
LATE_SECONDS = 0.1
# Statuses that say that the same call may go better soon.
PASSING = frozenset({408, 409, 425, 429})
REMEDY = "Another model does the work where one can; `hotdesk tiers` shows how each tier does."


@dataclass(frozen=True)
class Terms:
    """On what terms a call is made.

    Attributes:
        deadline_seconds: for the whole answer. due: whether somebody waits for it by a certain time.
        ceiling_usd: what the operator lets paid calls cost a day. unwanted: as in `inference.complete`.
    """

    agent: str
    deadline_seconds: float
    due: bool = False
    ceiling_usd: float = 0.0
    temperature: float = 0.0
    unwanted: Callable[[], bool] = lambda: False


def ask_cloud(request: ModelRequest, account: CloudAccount, *, terms: Terms) -> Completion:
    """One answer, asked for once: what a call uses up is counted, so nothing here asks again.

    Raises:
        Private: the words may not go there; they went nowhere.
        TierShut: the tier is closed, or has just refused and is closed now; until when is in the data.
        BadInput: the prompt does not fit its context, or it makes no vectors.
        ModelFailed: no answer; data `retryable`. Unwanted: nobody wants it any more.
        StateUnavailable: the call could not be written down, and was not made.
    """
    model = account.model
    if not model.may_see(request.allowed):
        raise private_error(request.allowed, model)
    if request.kind is Kind.EMBED:
        raise _bad_input(model, "makes no vectors")
    usd = model.usd(input_tokens(request), request.max_tokens)
    wish = ledger.Wish(needed_tokens(request), usd, terms.due, terms.ceiling_usd, terms.agent)
    reservation = _reserved(account, wish)
    try:
        said = _asked(request, account, terms)
    except inference.Unwanted:
        _settled(reservation, tokens=wish.tokens, usd=_cost(model, usd))
        raise
    if isinstance(said, CloudFailure):
        _account_for(reservation, said, wish, model)
        raise _lesson(account, said)
    took = said.tokens_in + said.tokens_out
    paid = model.usd(said.tokens_in, said.tokens_out) if took else usd
    _settled(reservation, tokens=took or wish.tokens, usd=_cost(model, paid))
    with _written_if_possible(model):
        tier_states.succeeded(model.name, datetime.now(UTC))
    return said


def _reserved(account: CloudAccount, wish: ledger.Wish) -> Reservation:
    """A tier that is closed because of another key than this one is open to it."""
    now = datetime.now(UTC)
    try:
        return ledger.reserve(account.model, wish, now=now)
    except TierShut:
        if not tier_states.open_to_another_key(account, now):
            raise
    return ledger.reserve(account.model, wish, now=now)


def _asked(request: ModelRequest, account: CloudAccount, terms: Terms) -> Completion | CloudFailure:
    """The failure is handed back, not raised: an error of ours that is raised later has none of a provider below it."""
    began_s, tier = time.monotonic(), account.model.name

    def may_go() -> bool:
        return time.monotonic() - began_s < LATE_SECONDS or tier not in tier_states.closed(datetime.now(UTC))

    try:
        return inference.complete_in_cloud(
            request,
            account,
            deadline_seconds=terms.deadline_seconds,
            temperature=terms.temperature,
            unwanted=terms.unwanted,
            may_go=may_go,
        )
    except CloudFailure as failure:
        return failure


def _account_for(reservation: Reservation, failure: CloudFailure, wish: ledger.Wish, model: CloudModel) -> None:
    """What never left counts for nothing, what was refused for a call, anything else for what it may have taken."""
    if not failure.sent:
        with _written_if_possible(model):
            ledger.give_back(reservation)
    elif failure.went in (Went.REFUSED, Went.TOO_LONG):
        _settled(reservation, tokens=0, usd=0.0)
    else:
        _settled(reservation, tokens=wish.tokens, usd=_cost(model, wish.usd))


def _settled(reservation: Reservation, *, tokens: int, usd: float) -> None:
    try:
        ledger.settle(reservation, tokens=tokens, usd=usd, now=datetime.now(UTC))
    except StateUnavailable as error:
        log_event("not_settled", level=logging.WARNING, tier=reservation.tier, why=error.happened)


def _lesson(account: CloudAccount, failure: CloudFailure) -> HotdeskError:
    """Tell all processes what the failure says about the tier; what it means for this call."""
    model, now = account.model, datetime.now(UTC)
    if failure.went is Went.REFUSED and (shut := _refusal(account, failure, now)) is not None:
        return shut
    if failure.went is Went.TOO_LONG:
        return _bad_input(model, failure.what)
    if failure.went is Went.HELD_BACK:
        closed = tier_states.closed(now).get(model.name)
        until = closed.until if closed else now + timedelta(seconds=HELD_BACK_SECONDS)
        return _shut(model, closed.why if closed else f"it {failure.what}", until)
    is_its_fault = failure.went in (Went.BROKEN, Went.UNREACHABLE) or (failure.status or 0) >= 500
    if is_its_fault:
        with _written_if_possible(model):
            tier_states.failed(model.name, f"it {failure.what}", now)
    return _failed(model, failure.what, retryable=is_its_fault or failure.status in PASSING)


def _refusal(account: CloudAccount, failure: CloudFailure, now: datetime) -> TierShut | None:
    model, status, headers = account.model, failure.status or 0, failure.headers
    refusal = read_refusal(model, status=status, headers=headers, body=failure.body, now=now)
    if refusal is None:
        return None
    with _written_if_possible(model):
        tiers = (model.name, *refusal.also_closes(model, catalogue().values()))
        key = account.secrets if refusal.closed_for == "key" else ()
        tier_states.close(tiers, refusal.until, closed_for=refusal.closed_for, why=refusal.why, now=now, secrets=key)
    return _shut(model, refusal.why, refusal.until)


@contextlib.contextmanager
def _written_if_possible(model: CloudModel) -> Iterator[None]:
    """An answer that is there is not lost because nobody else could be told of it."""
    try:
        yield
    except StateUnavailable as error:
        log_event("tier_not_noted", level=logging.WARNING, tier=model.name, why=error.happened)


def _cost(model: CloudModel, usd: float | None) -> float:
    return 0.0 if model.free or usd is None else usd


def _shut(model: CloudModel, why: str, until: datetime) -> TierShut:
    return TierShut(
        f"The tier {model.name} refused the call: {why}.",
        means="It gave no answer.",
        remedy=REMEDY,
        tier=model.name,
        until=until,
        why=why,
    )


def _bad_input(model: CloudModel, what: str) -> BadInput:
    return BadInput(
        f"The tier {model.name} {what}.",
        means="It gave no answer.",
        remedy="Give it less at once: lower the agent's caps on items or on text.",
        model=model.name,
        engine=model.provider,
    )


def _failed(model: CloudModel, what: str, *, retryable: bool) -> ModelFailed:
    return ModelFailed(
        f"The tier {model.name} {what}.",
        means="What it had said was discarded.",
        remedy=REMEDY,
        model=model.name,
        engine=model.provider,
        retryable=retryable,
    )
