"""From requests to checked answers: choose a route, sit down once, call, check, record.

The decision is `policy.routing.choose` on the facts of `governor.routing`; the seat is `governor.desk`;
the words come from `governor.inference`. A batch of requests is one agent's work of one kind and shares one seat.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import jsonschema

from governor import inference
from governor.desk import Seat, any_seat_void, desk, lost_seat
from governor.engines import engine
from governor.errors import BadInput, DoesNotFit, HotdeskError, ModelFailed, NoRoute, NotReady, SeatLost
from governor.events import log_event
from governor.line import Errand
from governor.policy.facts import Candidate, ModelRequest, Route
from governor.policy.routing import RoutingRules, choose, needed_tokens
from governor.routing import gather_facts
from governor.state.models import Decision
from governor.state.sessions import transaction

# Slowest speeds at which a call is still waited for: a busy 2-core machine wrote 2.6 tokens/s with one
# thread (measured); reading a prompt is about ten times as fast as writing.
SLOWEST_WRITE_TOKENS_PER_SECOND = 2.0
SLOWEST_READ_TOKENS_PER_SECOND = 15.0
CALL_OVERHEAD_SECONDS = 20.0
CHARACTERS_PER_TOKEN = 3.5
RETRY_TEMPERATURE = 0.4

Check = Callable[[str], list[str]]


@dataclass(frozen=True)
class Ask:
    """A request and the rule its answer must pass: `check` returns what is wrong, [] when nothing is."""

    request: ModelRequest
    check: Check | None = None


@dataclass(frozen=True)
class Answer:
    """What came back. `data` is the parsed object, the label or the text; trust it only if `verified`."""

    text: str
    data: Any
    verified: bool
    problems: list[str]
    tier: str
    model: str
    demo: bool
    reason: str
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    first_token_seconds: float = 0.0


@dataclass
class Asked:
    """All answers of a batch, in the order of the asks, and what they cost."""

    answers: list[Answer] = field(default_factory=list)
    route: Route = field(default_factory=lambda: Route(candidates=()))
    line_seconds: float = 0.0
    desk_seconds: float = 0.0


def ask_all(
    asks: Sequence[Ask],
    *,
    agent: str,
    patience_seconds: float,
    flow_run_id: str | None = None,
    due_at: datetime | None = None,
    rules: RoutingRules | None = None,
) -> Asked:
    """Serve a batch at one seat; an answer that fails its checks is asked for once more.

    Raises:
        LeftLine: patience ran out. NoRoute: no tier ever serves this here, with every refusal.
        DoesNotFit: one would, but there is no room for it now. SeatLost: twice in a row.
        NotReady, ModelFailed, BadInput: what the last candidate said.
    """
    if not asks:
        return Asked()
    largest = max((a.request for a in asks), key=needed_tokens)
    known = gather_facts(datetime.now(UTC), rules)
    route = choose(largest, known)
    if not route.candidates:
        raise _no_route(route)
    inference.warm_up()
    failure: HotdeskError | None = None
    ends = time.monotonic() + patience_seconds  # one patience, however many candidates
    for candidate in route.candidates:
        patience = max(0.0, ends - time.monotonic())
        name = candidate.spec.line
        expected = known.median_seconds.get(name, 0.0)  # what seats of this line took lately
        errand = Errand(name, agent, candidate.spec.model, patience, due_at, flow_run_id, expected)
        try:
            return _serve_again_once(asks, candidate, errand, route)
        except (DoesNotFit, ModelFailed, NotReady, BadInput) as error:
            if isinstance(error, NotReady | BadInput) and "engine" not in error.data:
                raise
            log_event("route_failed", holder=agent, tier=candidate.tier, why=error.happened)
            failure = error
    raise failure or _no_route(route)


def _serve_again_once(asks: Sequence[Ask], candidate: Candidate, errand: Errand, route: Route) -> Asked:
    """Serve; a seat that was lost (a suspend, a server that forgot its leases) is queued for again, once."""
    started = time.monotonic()
    try:
        return _serve(asks, candidate, errand, route)
    except SeatLost as lost:
        log_event("queued_again", level=logging.WARNING, holder=errand.agent, tier=errand.line, why=lost.happened)
        left = max(0.0, errand.patience_seconds - (time.monotonic() - started))
        return _serve(asks, candidate, replace(errand, patience_seconds=left), route)


def call_seconds(request: ModelRequest) -> float:
    """Longest that one call may take before it is given up."""
    read = (len(request.prompt) + len(request.system or "")) / CHARACTERS_PER_TOKEN / SLOWEST_READ_TOKENS_PER_SECOND
    return CALL_OVERHEAD_SECONDS + read + request.max_tokens / SLOWEST_WRITE_TOKENS_PER_SECOND


def _serve(asks: Sequence[Ask], candidate: Candidate, errand: Errand, route: Route) -> Asked:
    budget = 60.0 + 2 * sum(call_seconds(a.request) for a in asks)
    started = time.monotonic()
    needed = max(needed_tokens(a.request) for a in asks)
    spec = candidate.spec.model_copy(update={"least_context_tokens": min(needed, candidate.spec.context_tokens)})
    with desk(spec, errand, budget_seconds=budget) as seat:
        done = Asked(route=route, line_seconds=seat.waited_seconds)
        for ask in asks:
            answer = _ask_twice(ask, seat, candidate)
            done.answers.append(answer)
            _record(ask, answer, seat, errand, route)
    done.desk_seconds = time.monotonic() - started - done.line_seconds
    return done


def _ask_twice(ask: Ask, seat: Seat, candidate: Candidate) -> Answer:
    answer = _ask_once(ask, seat, candidate, temperature=0.0)
    if answer.verified:
        return answer
    again = _ask_once(ask, seat, candidate, temperature=RETRY_TEMPERATURE)
    return again if again.verified else answer


def _ask_once(ask: Ask, seat: Seat, candidate: Candidate, *, temperature: float) -> Answer:
    seat.check()
    parameters = engine(seat.served.engine).litellm_parameters(seat.served, seat.loaded)
    started = time.monotonic()
    try:
        said = inference.complete(
            ask.request,
            parameters,
            deadline_seconds=call_seconds(ask.request),
            temperature=temperature,
            unwanted=any_seat_void,
        )
    except inference.Unwanted as error:
        raise lost_seat(seat.turn) from error
    except (BadInput, ModelFailed) as error:
        seat.check()  # an engine that was ended under a seat that is void: the seat is what was lost
        if isinstance(error, ModelFailed) and not error.data.get("retryable", True):
            raise
        return _answer(candidate, "", None, [error.happened], seconds=time.monotonic() - started)
    seat.check()
    text = whole_sentences(said.text) if said.finish_reason == "length" else said.text
    data, problems = parse(ask.request, text)
    if not problems and ask.check is not None:
        problems = ask.check(text)
    return _answer(
        candidate,
        text,
        data,
        problems,
        tokens_in=said.tokens_in,
        tokens_out=said.tokens_out,
        seconds=said.seconds,
        first_token_seconds=said.first_token_seconds,
    )


def _answer(candidate: Candidate, text: str, data: Any, problems: list[str], **costs: Any) -> Answer:
    spec = candidate.spec
    return Answer(
        text=text,
        data=data,
        verified=not problems,
        problems=problems,
        tier=candidate.tier,
        model=spec.model,
        demo=spec.demo,
        reason=candidate.reason,
        **costs,
    )


def parse(request: ModelRequest, text: str) -> tuple[Any, list[str]]:
    """The answer as data and what the built-in rules say: label in the choices, object as in the schema."""
    plain = text.strip()
    if request.choices is not None:
        label = plain.strip('"')
        return (label, []) if label in request.choices else (None, [f"{plain[:40]!r} is none of the choices"])
    if request.json_schema is not None:
        try:
            data = json.loads(plain)
            jsonschema.validate(data, request.json_schema)
        except json.JSONDecodeError as error:
            return None, [f"no JSON: {error.msg}"]
        except jsonschema.ValidationError as error:
            return None, [f"not as the schema says: {error.message[:120]}"]
        return data, []
    return plain, [] if plain else ["it said nothing"]


def whole_sentences(text: str) -> str:
    """What was written before a cap cut it off, without the sentence that was cut."""
    ends = [text.rfind(mark) for mark in (". ", "! ", "? ", ".\n", "!\n", "?\n")]
    return text[: max(ends) + 1] if max(ends) > 0 else text


def _record(ask: Ask, answer: Answer, seat: Seat, errand: Errand, route: Route) -> None:
    with transaction() as session:
        session.add(
            Decision(
                at=datetime.now(UTC),
                flow_run_id=errand.flow_run_id,
                agent=errand.agent,
                kind=ask.request.kind.value,
                tier=answer.tier,
                engine=seat.spec.engine,
                model=answer.model,
                reason=answer.reason,
                refusals=[refusal.model_dump() for refusal in route.refusals],
                tokens_in=answer.tokens_in,
                tokens_out=answer.tokens_out,
                line_seconds=seat.waited_seconds,
                work_seconds=answer.seconds,
                first_token_seconds=answer.first_token_seconds,
                verdict="verified" if answer.verified else "; ".join(answer.problems)[:300],
            )
        )


def _no_route(route: Route) -> NoRoute:
    refusals = [f"{refusal.tier}: {refusal.reason}" for refusal in route.refusals]
    return NoRoute(
        "No model on this machine can serve the request: " + "; ".join(refusals) + ".",
        means="Nothing was asked.",
        remedy="Shorten the input, or see `hotdesk doctor` for what this machine can run.",
        refusals=refusals,
    )
