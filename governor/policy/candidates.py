"""What the router may know, and each tier that could serve as a candidate: how soon, how surely, and why. Pure.

Which tiers cannot serve at all is `policy.refusing`; which candidate comes first is `policy.routing`.
"""

from datetime import datetime

from pydantic import Field

from governor.policy import allowance, gains
from governor.policy.adequacy import CONSTRAINED, GOOD_CONSTRAINED_BILLION, enough_billion, is_made_for, size_billion
from governor.policy.facts import Fact, Held, ModelSpec, Profile, Rung
from governor.policy.gains import Gains
from governor.policy.refusing import CloudFact, RoutingRules
from governor.policy.requests import Candidate, ModelRequest, Quality, Span

# Until a line has a history: seconds one seat took on the 2-core machine in a first round.
FIRST_MEDIAN_SECONDS = 15.0
# Who sits longer than seats usually last may stand up at any moment.
LEAST_LEFT_SECONDS = 2.0
# A load until it was seen here: a 7B model took 0.85 s warm (measured) and reads from a cold disk at about 0.5 GB/s.
LOAD_SECONDS_PER_BILLION = 1.0
# Bringing a model in while the governor makes room costs somebody else a reload or the desk a pause.
PRESSURE_PRICE_SECONDS = 60.0
# Connecting, and the first token of a cloud model.
CLOUD_START_SECONDS = 1.5
# Half of the longest answer is what answers take on average.
USUAL_ANSWER_SHARE = 0.5
# The share of an allowance below which it is as good as spent for anything that can wait: the price grows to 50 times.
LEAST_SHARE = 0.02
SPAN_SECONDS = {Span.SECOND: 1.0, Span.MINUTE: 60.0}


class Seated(Fact):
    """Somebody at a desk: its model, and since when it sits there."""

    model: str
    seconds: float = 0.0


class RoutingFacts(Fact):
    """What the router may know.

    Attributes:
        ahead: by line, the models of the tickets in it. seated: who sits at its desk.
        median_seconds: how long a seat lasts, by `line/model`, and by line for models without a history.
        call_seconds: how long one call of a model takes, of those that have a history.
        paused: of each line in which nobody sits down just now, why that is.
        clouds: the cloud tiers that have a key.
        gains: what models are known to do of this kind of work.
        calls: requests in the batch that this one stands for. patience_seconds: how long its agent waits in a line.
        counted_tokens: context that the request takes, where that was counted already.
        draw: a number in [0, 1) that decides whether a candidate is tried to learn; 1: none is.
    """

    profile: Profile
    ahead: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    seated: dict[str, tuple[Seated, ...]] = Field(default_factory=dict)
    median_seconds: dict[str, float] = Field(default_factory=dict)
    call_seconds: dict[str, float] = Field(default_factory=dict)
    residents: tuple[Held, ...] = ()
    rung: Rung = Rung.NORMAL
    rules: RoutingRules = RoutingRules()
    paused: dict[str, str] = Field(default_factory=dict)
    clouds: tuple[CloudFact, ...] = ()
    gains: Gains = Gains()
    calls: int = Field(default=1, ge=1)
    patience_seconds: float | None = None
    counted_tokens: int | None = None
    draw: float = Field(default=1.0, ge=0, le=1)
    now: datetime


def seat_seconds(line: str, model: str, facts: RoutingFacts) -> float:
    """How long a seat of this model lasts: the median of the latest, of the line's where the model has none."""
    return facts.median_seconds.get(f"{line}/{model}", facts.median_seconds.get(line, FIRST_MEDIAN_SECONDS))


def expected_wait_seconds(line: str, facts: RoutingFacts) -> float:
    """The seats of everybody ahead, and what is left of those that are taken, over the slots of the line."""
    slots = max(1, facts.profile.slots.get(line, 1))
    waits = sum(seat_seconds(line, model, facts) for model in facts.ahead.get(line, ()))
    for seat in facts.seated.get(line, ()):
        waits += max(LEAST_LEFT_SECONDS, seat_seconds(line, seat.model, facts) - seat.seconds)
    return waits / slots


def local_candidate(tier: str, spec: ModelSpec, request: ModelRequest, facts: RoutingFacts, needed: int) -> Candidate:
    """A model of this machine, behind its line."""
    resident = any(h.model == spec.model and h.context_tokens >= needed for h in facts.residents)
    load = 0.0 if resident else LOAD_SECONDS_PER_BILLION * spec.parameters_billion
    wait = expected_wait_seconds(spec.line, facts)
    ahead = len(facts.ahead.get(spec.line, ())) + len(facts.seated.get(spec.line, ()))
    here = "resident" if resident else "to be loaded"
    pressed = not resident and facts.rung is not Rung.NORMAL
    tight = f" while the governor is at {facts.rung.value}" if pressed else ""
    closed = f"; {facts.paused[spec.line]}" if spec.line in facts.paused else ""
    call = facts.call_seconds.get(spec.model)
    return Candidate(
        tier=tier,
        spec=spec,
        reason=f"{_fit(spec, request)}; line {spec.line}: {ahead} ahead, about {wait:.0f} s; {here}{tight}"
        f"{_record(spec.model, facts)}{closed}",
        wait_seconds=wait + load,
        work_seconds=seat_seconds(spec.line, spec.model, facts) if call is None else call * facts.calls,
        price_seconds=_desk_price(spec, request, facts) + (PRESSURE_PRICE_SECONDS if pressed else 0.0),
        chance=_chance(spec.model, spec.parameters_billion, request, facts),
    )


def cloud_candidate(cloud: CloudFact, request: ModelRequest, facts: RoutingFacts) -> Candidate:
    """A tier of the cloud, behind its ledger."""
    model = cloud.model
    largest = max((spec.parameters_billion for spec in facts.profile.tiers.values()), default=0.0)
    size = "a larger model" if model.parameters_billion > largest else "a model elsewhere"
    price = "free" if model.free else "paid, under the ceiling"
    usual = CLOUD_START_SECONDS + USUAL_ANSWER_SHARE * request.max_tokens / model.tokens_per_second
    work = facts.call_seconds.get(model.name, usual) * facts.calls
    return Candidate(
        tier=model.name,
        cloud=model,
        reason=f"{size}, {price}, {_left(cloud, facts)}; no line{_record(model.name, facts)}",
        work_seconds=work + _held_back_seconds(cloud, facts),
        price_seconds=facts.rules.cloud_price_seconds / max(LEAST_SHARE, allowance.share_left(cloud.left)),
        chance=_chance(model.name, model.parameters_billion, request, facts),
    )


def _held_back_seconds(cloud: CloudFact, facts: RoutingFacts) -> float:
    """How long the calls of the batch wait for a rate that is given by the second or minute."""
    waits = [0.0]
    for left in cloud.left:
        seconds, amount = SPAN_SECONDS.get(left.allowance.span), left.allowance.amount
        if seconds is not None and left.allowance.unit == "requests":
            waits.append(max(0, facts.calls - left.left) / amount * seconds)
    return max(waits)


def _left(cloud: CloudFact, facts: RoutingFacts) -> str:
    """What is left of the allowance that ends first, of those that last."""
    lasting = [left for left in cloud.left if left.allowance.span not in allowance.SHORT]
    if not lasting:
        return "no published allowance"
    scarce = min(lasting, key=lambda left: left.left / left.allowance.amount)
    said = f"{scarce.left:,} of {scarce.allowance.amount:,} {scarce.in_words} left"
    short = scarce.allowance.unit == "requests" and scarce.left < facts.calls
    return f"{said}, for {facts.calls} calls" if short else said


def _desk_price(spec: ModelSpec, request: ModelRequest, facts: RoutingFacts) -> float:
    """What it costs to take the heavy model's desk for work that needs none."""
    needs_none = enough_billion(request) < GOOD_CONSTRAINED_BILLION
    return facts.rules.desk_price_seconds if spec.line == "gpu" and needs_none else 0.0


def _chance(model: str, parameters_billion: float, request: ModelRequest, facts: RoutingFacts) -> float:
    constrained = request.kind in CONSTRAINED
    return gains.chance(facts.gains, model, gains.prior(request.kind, parameters_billion, constrained=constrained))


def _fit(spec: ModelSpec, request: ModelRequest) -> str:
    kind = request.kind.value
    if is_made_for(spec, request.kind):
        return f"made for {kind}"
    if size_billion(spec) < enough_billion(request):
        return f"small for {kind}, but there"
    if request.kind in CONSTRAINED:
        return "a constrained answer needs no more" if spec.line == "cpu" else f"more than enough for {kind}"
    if request.quality is Quality.QUICK:
        return "will do for quick work"
    return "demo model in the place of a real one" if spec.demo else f"large enough for {kind}"


def _record(model: str, facts: RoutingFacts) -> str:
    tally = facts.gains.of_agent.get(model) or facts.gains.of_kind.get(model)
    return f"; passed {tally.verified} of {tally.tried} here" if tally and tally.tried else ""
