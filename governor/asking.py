"""From requests to checked answers: choose a route, go along it, and up it where an answer does not stand.

The decision is `policy.routing.choose` on the facts of `governor.routing`; a candidate is served by `governor.serving`,
at a seat of `governor.desk` or by `governor.cloud`. A batch of requests is one agent's work of one kind.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from governor import inference, serving
from governor.accounts import CloudAccount
from governor.answers import Asked
from governor.batch import Batch, Mandate
from governor.errors import (
    BadInput,
    DoesNotFit,
    HotdeskError,
    LeftLine,
    ModelFailed,
    NoRoute,
    NotReady,
    Private,
    SeatLost,
    TierShut,
)
from governor.events import log_event
from governor.line import Errand
from governor.policy.refusing import RoutingRules
from governor.policy.requests import Candidate, ModelRequest, Privacy, Route
from governor.policy.routing import RoutingFacts, choose, seat_seconds
from governor.policy.tokens import input_tokens, needed_tokens
from governor.routing import Asker, gather_facts, strictest

# Less is left of a patience than a ticket takes.
LEAST_PATIENCE_SECONDS = 1.0
EVERY_LINE = "every line"
# The wait in line of whoever does not say how long it may be.
PATIENCE_SECONDS = 900.0


def ask_all(
    requests: Sequence[ModelRequest],
    mandate: Mandate,
    *,
    rules: RoutingRules | None = None,
    accounts: tuple[CloudAccount, ...] = (),
) -> Asked:
    """Serve a batch; an answer that fails its checks is asked for once more, then of a larger model.

    What nobody answered, beside answers that were had, comes back as an answer that is not verified, with the reason;
    so does what is too long for its cap or for every model, while the others go on.

    Args:
        requests: one kind of work. mandate: who asks, and on what terms. rules: the operator's; None: the defaults.
        accounts: the cloud tiers with a key; not looked at where any of the requests is private.

    Raises:
        NoRoute: no tier ever serves this here, with every refusal.
        LeftLine, DoesNotFit, SeatLost, TierShut, NotReady, ModelFailed, BadInput: nobody answered any of it; why. data
            of what ended the way, once there was a route: `line_seconds`, `desk_seconds`, all that the batch took.
        Private: words were about to go where they may not.
    """
    if not requests:
        return Asked()
    allowed = () if strictest(requests).allowed is Privacy.LOCAL_ONLY else accounts
    patience_seconds = PATIENCE_SECONDS if mandate.patience_seconds is None else mandate.patience_seconds
    asker = Asker(mandate.agent, rules or RoutingRules(), allowed, len(requests), patience_seconds)
    batch = Batch(requests, asker, mandate, time.monotonic() + patience_seconds)
    _leave_out_over_cap(batch)
    known = _find_route(batch)
    inference.warm_up([_account(batch, one) for one in batch.route.candidates if one.cloud is not None])
    # The import took 3 to 7 s on 2 busy cores (measured), more than the whole patience of a late run.
    batch.ends_s = time.monotonic() + patience_seconds
    failure = _along(batch, known)
    if batch.is_unanswered:
        error = failure or _nobody(batch)
        error.data |= {"line_seconds": batch.line_seconds, "desk_seconds": batch.desk_seconds}
        raise error
    return batch.result(failure.happened if failure else "")


def _find_route(batch: Batch) -> RoutingFacts:
    """Give the batch its route; the longest of its requests are left out until some tier can serve all others.

    Raises:
        NoRoute, TierShut: nobody can serve even the shortest.
    """
    takes = {index: needed_tokens(batch.requests[index]) for index in batch.open_to_any()}
    sizes = sorted(set(takes.values()), reverse=True)
    most = sizes[0]
    known = _routed(batch, takes, most)
    if not batch.route.candidates:
        # What is known of the machine is the same for shorter ones: it is read anew only for those that can be served.
        most = next((size for size in sizes[1:] if _can_serve(batch, takes, size, known)), most)
        known = known if most == sizes[0] else _routed(batch, takes, most)
    if not batch.route.candidates:
        raise _no_route(batch.route)
    able = [one.spec or one.cloud for one in (*batch.route.candidates, *batch.route.late)]
    largest = max(one.context_tokens for one in able if one is not None)
    batch.left_out |= {index: _too_long(tokens, largest) for index, tokens in takes.items() if tokens > most}
    return known


def _routed(batch: Batch, takes: dict[int, int], most: int) -> RoutingFacts:
    """Read what is known, and give the batch the route of its requests up to this size."""
    lead, calls = _lead(batch, takes, most)
    known = gather_facts(lead, replace(batch.asker, calls=calls), datetime.now(UTC), needed=most)
    batch.route = choose(lead, known)
    return known


def _can_serve(batch: Batch, takes: dict[int, int], most: int, known: RoutingFacts) -> bool:
    lead, calls = _lead(batch, takes, most)
    return bool(choose(lead, known.model_copy(update={"counted_tokens": most, "calls": calls})).candidates)


def _lead(batch: Batch, takes: dict[int, int], most: int) -> tuple[ModelRequest, int]:
    """The request that stands for all up to this size, and how many those are."""
    kept = [batch.requests[index] for index, tokens in takes.items() if tokens <= most]
    lead = strictest(kept)
    return lead.model_copy(update={"due_at": lead.due_at or batch.mandate.due_at}), len(kept)


def _too_long(tokens: int, largest: int) -> str:
    """Why a request was left out; a tier with room for it may be closed, or short of tokens, only for now."""
    if tokens > largest:
        return f"too long: about {tokens} tokens, the largest context here is {largest}"
    return f"too long for now: no tier takes about {tokens} tokens"


def _along(batch: Batch, known: RoutingFacts) -> HotdeskError | None:
    """Each candidate tries what is open to it. What stopped it, None when nothing did.

    Raises:
        Private: words were about to go where they may not; nothing of the batch is worth going on with.
    """
    failure, closed = _try_out(batch, known), set[str]()
    for candidate in (*batch.route.candidates, *batch.route.late):
        is_late = candidate in batch.route.late
        if not batch.wanting(candidate) or (is_late and not batch.is_unanswered):
            continue
        if candidate.spec is not None and closed & {candidate.spec.line, EVERY_LINE}:
            continue
        try:
            _serve(batch, candidate, known)
        except Private:
            raise
        except HotdeskError as error:
            log_event("route_failed", holder=batch.asker.agent, tier=candidate.tier, why=error.happened)
            failure = failure if isinstance(failure, LeftLine | SeatLost | NotReady) else error
            closed |= _closed_by(error, candidate, batch)
    return failure


def _try_out(batch: Batch, known: RoutingFacts) -> HotdeskError | None:
    """One request goes to the candidate on trial; what it does not answer rightly is still the others'."""
    if batch.route.trial is None:
        return None
    first = batch.only = batch.open_to_any()[0]
    try:
        _serve(batch, batch.route.trial, known)
    except (DoesNotFit, ModelFailed, TierShut) as error:
        log_event("trial_failed", holder=batch.asker.agent, tier=batch.route.trial.tier, why=error.happened)
    except HotdeskError as error:
        return error
    finally:
        batch.only = None
        answer = batch.answers[first]
        batch.answers[first] = answer if answer is not None and answer.verified else None
    return None


def _closed_by(error: HotdeskError, candidate: Candidate, batch: Batch) -> set[str]:
    """The lines in which standing would be in vain after this; a tier of the cloud has none and may still serve."""
    if isinstance(error, LeftLine) and candidate.spec is not None and batch.patience_seconds > LEAST_PATIENCE_SECONDS:
        return {candidate.spec.line}
    of_an_engine = isinstance(error, NotReady | BadInput) and "engine" in error.data
    if of_an_engine or isinstance(error, DoesNotFit | ModelFailed | TierShut):
        return set()
    return {EVERY_LINE}


def _serve(batch: Batch, candidate: Candidate, known: RoutingFacts) -> None:
    if candidate.spec is None:
        serving.in_cloud(batch, candidate, _account(batch, candidate))
        return
    line, model = candidate.spec.line, candidate.spec.model
    expected = seat_seconds(line, model, known)
    due_at, run = batch.first_due_at(batch.wanting(candidate)), batch.mandate.flow_run_id
    errand = Errand(line, batch.asker.agent, model, batch.patience_seconds, due_at, run, expected)
    serving.at_desk(batch, candidate, errand)


def _account(batch: Batch, candidate: Candidate) -> CloudAccount:
    return next(account for account in batch.asker.accounts if account.model.name == candidate.tier)


def _leave_out_over_cap(batch: Batch) -> None:
    """Requests that are longer than their own cap are not asked.

    Raises:
        BadInput: all of them are.
    """
    for index, request in enumerate(batch.requests):
        cap = request.max_input_tokens
        if cap is not None and (takes := input_tokens(request)) > cap:
            batch.left_out[index] = f"too long: it takes about {takes} tokens before its answer; its cap is {cap}"
    if not batch.open_to_any():
        raise BadInput(
            f"No request is within its cap; the first is {batch.left_out[0]}.",
            means="Nothing was asked.",
            remedy="Give it less at once, or raise the agent's cap on tokens.",
        )


def _no_route(route: Route) -> HotdeskError:
    """Nobody can: not now, where some refusal is over by itself; else never, as the request is."""
    refusals = [f"{refusal.tier}: {refusal.reason}" for refusal in route.refusals]
    why = "; ".join(refusals)
    until = min((refusal.until for refusal in route.refusals if refusal.until), default=None)
    if until is not None:
        return TierShut(
            f"No model can serve the request now: {why}.",
            means="Nothing was asked.",
            remedy="It goes on at the agent's next run; `hotdesk tiers` shows what is left of each tier.",
            until=until,
            why=why,
            refusals=refusals,
        )
    return NoRoute(
        f"No model can serve the request: {why}.",
        means="Nothing was asked.",
        remedy="Shorten the input, or see `hotdesk doctor` for what this machine can run.",
        refusals=refusals,
    )


def _nobody(batch: Batch) -> ModelFailed:
    return ModelFailed(
        f"No model gave an answer: {batch.last_problem}",
        means="What they had said was discarded.",
        remedy="The agent runs again at its next time; `hotdesk why last` shows every call.",
        model=batch.route.candidates[-1].model,
        retryable=True,
    )
