"""Serve the open requests of a batch by one candidate: at a seat of a desk, or by a tier of the cloud.

Every call is recorded as it ends, and an answer once given is kept, whatever happens to the rest of the batch.
"""

import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from governor import cloud, inference
from governor.accounts import CloudAccount
from governor.answers import Answer, answer_by, judged, no_answer
from governor.batch import Batch
from governor.decisions import record
from governor.desk import Seat, any_seat_void, desk, lost_seat
from governor.energy import card_energy
from governor.engines import engine
from governor.errors import BadInput, LeftLine, ModelFailed, Private, SeatLost, StateUnavailable, TierShut
from governor.events import log_event
from governor.line import Errand
from governor.policy.doubt import agreement
from governor.policy.facts import Kind
from governor.policy.politeness import gives_up
from governor.policy.requests import Candidate, ModelRequest
from governor.policy.tokens import needed_tokens

# Slowest speeds at which a call is still waited for: a busy 2-core machine wrote 2.6 tokens/s with one
# thread (measured); reading a prompt is about ten times as fast as writing.
SLOWEST_WRITE_TOKENS_PER_SECOND = 2.0
SLOWEST_READ_TOKENS_PER_SECOND = 15.0
CALL_OVERHEAD_SECONDS = 20.0
CHARACTERS_PER_TOKEN = 3.5
RETRY_TEMPERATURE = 0.4
# What a cloud tier may take: free tiers write 50 to 2,000 tokens a second, and queue when they are busy.
CLOUD_OVERHEAD_SECONDS = 30.0
CLOUD_TOKENS_PER_SECOND = 10.0
# Requests in a row that an engine may leave unanswered at one seat, each tried twice.
MOST_SILENT = 2
# A tier that is only over its rate is waited for that long, then the next candidate is better.
MOST_CLOUD_WAIT_SECONDS = 65.0


def call_seconds(request: ModelRequest) -> float:
    """Longest that one call may take before it is given up."""
    read = (len(request.text) + len(request.system or "")) / CHARACTERS_PER_TOKEN / SLOWEST_READ_TOKENS_PER_SECOND
    return CALL_OVERHEAD_SECONDS + read + request.max_tokens / SLOWEST_WRITE_TOKENS_PER_SECOND


def at_desk(batch: Batch, candidate: Candidate, errand: Errand) -> None:
    """Serve at one seat, and at another what was left when it was given up to others: each request at one of them.

    A seat that was lost (a suspend, a server that forgot its leases) is queued for again, once. At every seat at least
    one request is asked, so there is an end to them. A ticket says when the first of what is left is due, and after a
    seat how long that will take at the pace of it.

    Raises:
        LeftLine, DoesNotFit, SeatLost, NotReady: no seat. ModelFailed, BadInput: the engine is of no use.
    """
    rest, was_lost = batch.wanting(candidate), False
    while rest:
        count, before_seconds = len(rest), batch.desk_seconds
        try:
            rest = _at_one_seat(batch, rest, candidate, errand)
            pace_seconds = (batch.desk_seconds - before_seconds) / max(1, count - len(rest))
            errand = replace(errand, work_seconds=pace_seconds * len(rest))
        except SeatLost as lost:
            if was_lost:
                raise
            rest, was_lost = batch.wanting(candidate), True
            log_event("queued_again", level=logging.WARNING, holder=errand.agent, tier=errand.line, why=lost.happened)
        errand = replace(errand, patience_seconds=batch.patience_seconds, due_at=batch.first_due_at(rest))


def _at_one_seat(batch: Batch, wanting: list[int], candidate: Candidate, errand: Errand) -> list[int]:
    """Ask them in turn until the seat is given up; those that were not asked. Patience runs in the line only."""
    spec = candidate.spec
    if spec is None:
        return []
    requests = [batch.requests[index] for index in wanting]
    budget = 60.0 + 2 * sum(call_seconds(request) * request.votes for request in requests)
    needed = max(needed_tokens(request) for request in requests)
    sized = spec.model_copy(update={"least_context_tokens": min(needed, spec.context_tokens)})
    try:
        place, came_s = desk(sized, errand, budget_seconds=budget), time.monotonic()
        with place as seat:
            batch.line_seconds += seat.waited_seconds
            seated_s = time.monotonic()
            try:
                return _ask_in_turn(batch, wanting, candidate, seat, None if place.is_shared else seated_s)
            finally:
                waited_seconds = 0.0 if place.is_shared else seat.waited_seconds
                batch.desk_seconds += time.monotonic() - seated_s
                batch.ends_s += time.monotonic() - came_s - waited_seconds
    except LeftLine as left:
        batch.line_seconds += left.data.get("waited_seconds", 0.0)
        raise


def _ask_in_turn(
    batch: Batch, wanting: list[int], candidate: Candidate, seat: Seat, seated_s: float | None
) -> list[int]:
    """Every request, or all until the seat is given up to others; those that were not asked.

    An engine that answers none of several in a row keeps the seat from others no longer. `seated_s`: since when it
    sits there, on the monotonic clock; None where leaving would give nothing up.
    """
    silent = 0
    for number, index in enumerate(wanting):
        rest = wanting[number:]
        if number and seated_s is not None and _gives_up(batch, rest, seat, time.monotonic() - seated_s):
            return rest
        _ask_at_seat(batch, index, candidate, seat)
        answer = batch.answers[index]
        silent = silent + 1 if answer is not None and answer.failed else 0
        if silent == MOST_SILENT:
            raise ModelFailed(
                f"The model {candidate.model} answered none of {silent} requests in a row: {batch.last_problem}",
                means="What was answered before stands.",
                remedy="The rest takes another route; `hotdesk status` shows what is in memory.",
                model=candidate.model,
                engine=seat.spec.engine,
                retryable=False,
            )
    return []


def _gives_up(batch: Batch, rest: list[int], seat: Seat, sat_seconds: float) -> bool:
    """Whether others should sit here before the rest is asked. Within its bound nobody is looked for."""
    if sat_seconds < batch.mandate.bound_seconds:
        return False
    try:
        waiting = seat.turn.line.dues(datetime.now(UTC))
    except StateUnavailable as error:
        log_event("look_failed", level=logging.WARNING, tier=seat.line, why=error.happened)
        return False
    own_due_at = batch.first_due_at(rest)
    why = gives_up(sat_seconds, batch.mandate.bound_seconds, own_due_at=own_due_at, waiting=waiting)
    if why:
        facts = {"ticket": seat.turn.ticket_id, "holder": batch.asker.agent, "tier": seat.line}
        log_event("gave_up_desk", **facts, seconds=round(sat_seconds, 1), left=len(rest), why=why)
    return bool(why)


def _ask_at_seat(batch: Batch, index: int, candidate: Candidate, seat: Seat) -> None:
    """Ask, once more where the answer does not stand, and until as many agree as the request wants."""
    votes, stood = batch.requests[index].votes, list[Answer]()
    for number in range(1 + votes):
        try:
            answer = _call_at_seat(batch, index, candidate, seat, _Try(number, tuple(one.text for one in stood)))
        except BadInput:  # it would not fit the second time either
            return
        if answer.verified and len(stood) == votes - 1:
            batch.keep(index, answer)
            return
        if answer.verified:
            stood.append(answer)
        elif not stood:
            batch.keep(index, answer)
        elif not answer.failed:
            batch.keep(index, answer)
            return
    if stood:
        few = f"{len(stood)} of {votes} answers were had"
        batch.keep(index, replace(stood[0], verified=False, problems=[few]))


@dataclass(frozen=True)
class _Try:
    """The how-manieth try it is, from 0, and the answers that stood before it, with which it has to agree."""

    number: int
    stood: tuple[str, ...] = ()

    @property
    def temperature(self) -> float:
        return RETRY_TEMPERATURE if self.number else 0.0

    def agreed(self, answer: Answer) -> Answer:
        if not answer.verified or not self.stood or agreement([*self.stood, answer.text]):
            return answer
        return replace(answer, verified=False, problems=["it does not agree with the answer before"])


def _call_at_seat(batch: Batch, index: int, candidate: Candidate, seat: Seat, this: _Try) -> Answer:
    """One call under a seat that is good before and after."""
    seat.check()
    request = batch.requests[index]
    parameters = engine(seat.served.engine).litellm_parameters(seat.served, seat.loaded)
    limits: dict[str, Any] = {"deadline_seconds": call_seconds(request), "unwanted": any_seat_void}
    started_s = time.monotonic()
    try:
        with card_energy(seat.served) as spent:
            if request.kind is Kind.EMBED:
                answer = _vectors(candidate, inference.embed(list(request.inputs.values()), parameters, **limits))
            else:
                said = inference.complete(request, parameters, temperature=this.temperature, **limits)
                answer = this.agreed(answer_of(request, candidate, said))
    except inference.Unwanted as error:
        raise lost_seat(seat.turn) from error
    except (BadInput, ModelFailed) as error:
        seat.check()  # an engine that was ended under a seat that is void: the seat is what was lost
        answer = no_answer(candidate, error.happened, time.monotonic() - started_s)
        record(batch, index, candidate, answer, line_seconds=seat.waited_seconds)
        if isinstance(error, BadInput) or not error.data.get("retryable", True):
            batch.keep(index, answer)
            raise
        return answer
    seat.check()
    record(batch, index, candidate, answer, line_seconds=seat.waited_seconds, joules=spent.joules)
    return answer


def in_cloud(batch: Batch, candidate: Candidate, account: CloudAccount) -> None:
    """Serve by one tier of the cloud, each request once: what it answers wrongly, or cannot read, is the next one's.

    Raises:
        Private: the words may not go there. TierShut: it is closed for longer than is worth waiting.
        ModelFailed: it gave no answer.
    """
    for index in batch.wanting(candidate):
        request, started_s = batch.requests[index], time.monotonic()
        try:
            said = _patiently(batch, request, account)
        except Private:
            raise
        except (BadInput, ModelFailed) as error:
            answer = no_answer(candidate, error.happened, time.monotonic() - started_s)
            batch.keep(index, answer)
            record(batch, index, candidate, answer, line_seconds=0.0)
            if isinstance(error, ModelFailed):
                raise
            continue
        answer = answer_of(request, candidate, said)
        batch.keep(index, answer)
        batch.desk_seconds += answer.seconds
        batch.ends_s += answer.seconds
        record(batch, index, candidate, answer, line_seconds=0.0)


def _patiently(batch: Batch, request: ModelRequest, account: CloudAccount) -> inference.Completion:
    """One call, after a wait where the tier is only over its rate, and patience and due time allow it."""
    due_at = request.due_at or batch.mandate.due_at
    terms = cloud.Terms(
        agent=batch.asker.agent,
        deadline_seconds=CLOUD_OVERHEAD_SECONDS + request.max_tokens / CLOUD_TOKENS_PER_SECOND,
        due=due_at is not None,
        ceiling_usd=batch.asker.rules.ceiling_usd,
    )
    ends_s = time.monotonic() + min(MOST_CLOUD_WAIT_SECONDS, batch.patience_seconds)
    while True:
        try:
            return cloud.ask_cloud(request, account, terms=terms)
        except TierShut as shut:
            until, now = shut.data.get("until"), datetime.now(UTC)
            wait_seconds = (until - now).total_seconds() if until else float("inf")
            misses = due_at is not None and until is not None and now < due_at < until
            if misses or time.monotonic() + wait_seconds > ends_s:
                raise
            log_event("cloud_wait", holder=batch.asker.agent, tier=account.model.name, seconds=round(wait_seconds, 1))
            time.sleep(max(0.05, wait_seconds))


def answer_of(request: ModelRequest, candidate: Candidate, said: inference.Completion) -> Answer:
    """What was said, judged."""
    text, data, problems = judged(request, said.text, cut=said.finish_reason == "length")
    return answer_by(
        candidate,
        text=text,
        data=data,
        problems=problems,
        tokens_in=said.tokens_in,
        tokens_out=said.tokens_out,
        seconds=said.seconds,
        first_token_seconds=said.first_token_seconds,
    )


def _vectors(candidate: Candidate, embedded: inference.Embedded) -> Answer:
    width = len(embedded.vectors[0]) if embedded.vectors else 0
    text = f"{len(embedded.vectors)} vectors of {width} numbers"
    costs: dict[str, Any] = {"tokens_in": embedded.tokens_in, "seconds": embedded.seconds}
    return answer_by(candidate, text=text, data=embedded.vectors, problems=[], **costs)
