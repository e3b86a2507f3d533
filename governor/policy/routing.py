"""Which model does a piece of work, and why. Pure: facts in, ordered candidates and refusals out."""

from datetime import datetime

from governor.policy.facts import Candidate, Fact, Held, Kind, ModelRequest, Profile, Quality, Refusal, Route, Rung

# English prose in llama-like vocabularies; a cautious figure, so that a prompt that passes does fit.
CHARACTERS_PER_TOKEN = 3.5
# The chat template and the schema's punctuation around a prompt.
TEMPLATE_TOKENS = 48
# Work whose answer is constrained while decoding: a small model is enough.
CONSTRAINED = frozenset({Kind.CLASSIFY, Kind.EXTRACT})


class RoutingFacts(Fact):
    """What the router may know.

    `waiting` counts tickets in line and at the desk by line, `median_seconds` is how long one seat lasts.
    """

    profile: Profile
    waiting: dict[str, int]
    median_seconds: dict[str, float]
    residents: tuple[Held, ...] = ()
    rung: Rung = Rung.NORMAL
    now: datetime


def needed_tokens(request: ModelRequest) -> int:
    """Context that the request takes: prompt, template and the longest answer."""
    characters = len(request.prompt) + len(request.system or "")
    return round(characters / CHARACTERS_PER_TOKEN) + TEMPLATE_TOKENS + request.max_tokens


def expected_wait_seconds(line: str, facts: RoutingFacts) -> float:
    """Length of the line times the median seconds of a seat, over its slots."""
    slots = max(1, facts.profile.slots.get(line, 1))
    return facts.waiting.get(line, 0) * facts.median_seconds.get(line, 0.0) / slots


def choose(request: ModelRequest, facts: RoutingFacts) -> Route:
    """Tiers in order of preference; one that cannot serve the request is refused with the reason."""
    candidates, late, refusals = [], [], []
    for tier in _preference(request):
        spec = facts.profile.tiers.get(tier)
        if spec is None:
            refusals.append(Refusal(tier=tier, reason=f"the profile {facts.profile.name} has no such tier"))
            continue
        needed = needed_tokens(request)
        if needed > spec.context_tokens:
            refusals.append(
                Refusal(tier=tier, reason=f"needs about {needed} tokens, its context is {spec.context_tokens}")
            )
            continue
        lateness = _late_by_seconds(request, spec.line, facts)
        candidate = Candidate(tier=tier, spec=spec, reason=_why(request, tier, spec.line, facts))
        if lateness > 0:
            late.append((lateness, candidate))
        else:
            candidates.append(candidate)
    late.sort(key=lambda pair: pair[0])
    for lateness, candidate in late[1:] if not candidates else late:
        refusals.append(Refusal(tier=candidate.tier, reason=_misses(lateness, request)))
    if not candidates and late:
        lateness, least = late[0]
        candidates.append(
            least.model_copy(update={"reason": f"{least.reason}, though it {_misses(lateness, request)}"})
        )
    return Route(candidates=tuple(candidates), refusals=tuple(refusals))


def _preference(request: ModelRequest) -> tuple[str, str]:
    small = request.quality is Quality.QUICK or (request.kind in CONSTRAINED and request.quality is not Quality.GOOD)
    return ("tiny", "heavy") if small else ("heavy", "tiny")


def _late_by_seconds(request: ModelRequest, line: str, facts: RoutingFacts) -> float:
    if request.due_at is None:
        return 0.0
    left = (request.due_at - facts.now).total_seconds()
    if left <= 0:
        return 0.0  # already late everywhere: no reason to prefer another tier
    return expected_wait_seconds(line, facts) + facts.median_seconds.get(line, 0.0) - left


def _misses(lateness: float, request: ModelRequest) -> str:
    due = f"{request.due_at:%H:%M} UTC" if request.due_at else "its due time"
    return f"would miss {due} by {lateness / 60:.0f} min"


def _why(request: ModelRequest, tier: str, line: str, facts: RoutingFacts) -> str:
    fit = {
        "tiny": "a constrained answer needs no more" if request.kind in CONSTRAINED else "the small model will do",
        "heavy": f"to {request.kind.value} well takes the best model here",
    }[tier]
    spec = facts.profile.tiers[tier]
    here = any(h.model == spec.model and h.context_tokens == spec.context_tokens for h in facts.residents)
    wait = expected_wait_seconds(line, facts)
    ahead = facts.waiting.get(line, 0)
    return f"{fit}; line {line}: {ahead} ahead, about {wait:.0f} s; {'resident' if here else 'to be loaded'}"
