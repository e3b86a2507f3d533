"""Which model does a piece of work, and why. Pure: facts in, ordered candidates and refusals out."""

import math
import re
from datetime import UTC, datetime

from pydantic import Field

from governor.policy.facts import Candidate, Fact, Held, Kind, ModelRequest, Profile, Quality, Refusal, Route, Rung

# How vocabularies of small models cut a text: a digit, a mark or a line end is a token each, a word one
# for every four letters, blanks in a row one for every four, any other script by its bytes. Against the
# shipped model's own count on the 31 sample inputs this says 0.99 to 1.43 times as many. A plain count of
# 3.5 characters for a token said 0.44 (log lines) to 0.92: too few every time.
PIECES = re.compile(r"[A-Za-z]+|[0-9]|[^\x00-\x7f]|\n|\s{2,}|[^\sA-Za-z0-9]")
CHARACTERS_PER_PIECE = 4
# Emoji take 3 tokens for their 4 bytes, Japanese 0.57 a byte, Cyrillic 0.45 (measured, same model).
TOKENS_PER_FOREIGN_BYTE = 0.75
# The chat template and the schema's punctuation around a prompt.
TEMPLATE_TOKENS = 48
# Work whose answer is constrained while decoding: a small model is enough.
CONSTRAINED = frozenset({Kind.CLASSIFY, Kind.EXTRACT})


class RoutingRules(Fact):
    """What an operator decided. `small_kinds` go to the small model first unless good quality is asked for."""

    allow_gpu: bool = True
    allow_cpu: bool = True
    small_kinds: frozenset[Kind] = CONSTRAINED

    def allows(self, line: str) -> bool:
        """Whether agents may stand in this line."""
        return {"gpu": self.allow_gpu, "cpu": self.allow_cpu}.get(line, True)


class RoutingFacts(Fact):
    """What the router may know.

    `waiting` counts tickets in line and at the desk by line, `median_seconds` is how long one seat lasts. `paused`
    says of each line in which nobody sits down just now why that is.
    """

    profile: Profile
    waiting: dict[str, int]
    median_seconds: dict[str, float]
    residents: tuple[Held, ...] = ()
    rung: Rung = Rung.NORMAL
    rules: RoutingRules = RoutingRules()
    paused: dict[str, str] = Field(default_factory=dict)
    now: datetime


def needed_tokens(request: ModelRequest) -> int:
    """Context that the request takes: prompt, template and the longest answer."""
    return (
        estimated_tokens(request.prompt) + estimated_tokens(request.system or "") + TEMPLATE_TOKENS + request.max_tokens
    )


def estimated_tokens(text: str) -> int:
    """Tokens of a text, rather too many than too few, without asking a model."""
    return math.ceil(sum(_tokens_of(piece) for piece in PIECES.findall(text)))


def _tokens_of(piece: str) -> float:
    if not piece.isascii():
        return TOKENS_PER_FOREIGN_BYTE * len(piece.encode("utf-8", "surrogatepass"))
    return 1 + (len(piece) - 1) // CHARACTERS_PER_PIECE


def expected_wait_seconds(line: str, facts: RoutingFacts) -> float:
    """Length of the line times the median seconds of a seat, over its slots."""
    slots = max(1, facts.profile.slots.get(line, 1))
    return facts.waiting.get(line, 0) * facts.median_seconds.get(line, 0.0) / slots


def choose(request: ModelRequest, facts: RoutingFacts) -> Route:
    """Tiers in order of preference; one that cannot serve the request in time is refused with the reason.

    When no tier would be in time, the one that is late by least still does it, and says so. A tier whose line is
    paused is left out while another one can serve; else it waits there, within the agent's patience.
    """
    able, refusals = _able(request, facts)
    in_time: list[Candidate] = []
    late: list[tuple[float, Candidate]] = []
    for tier in able:
        spec = facts.profile.tiers[tier]
        lateness = _late_by_seconds(request, spec.line, facts)
        candidate = Candidate(tier=tier, spec=spec, reason=_why(request, tier, spec.line, facts))
        if lateness > 0:
            late.append((lateness, candidate))
        else:
            in_time.append(candidate)
    late.sort(key=lambda pair: pair[0])
    if late and not in_time:
        lateness, least = late.pop(0)
        in_time = [least.model_copy(update={"reason": f"{least.reason}, though it {_misses(lateness, request)}"})]
    refusals += [Refusal(tier=c.tier, reason=_misses(lateness, request)) for lateness, c in late]
    return Route(candidates=tuple(in_time), refusals=tuple(refusals))


def _able(request: ModelRequest, facts: RoutingFacts) -> tuple[list[str], list[Refusal]]:
    """The tiers that can serve the request here, in order of preference, and why the others cannot."""
    needed, able, refusals = needed_tokens(request), [], []
    for tier in _preference(request, facts.rules):
        refused = _refusal(tier, needed, facts)
        if refused is None:
            able.append(tier)
        else:
            refusals.append(Refusal(tier=tier, reason=refused))
    closed = {tier: facts.paused.get(facts.profile.tiers[tier].line, "") for tier in able}
    if all(closed.values()):
        return able, refusals
    refusals += [Refusal(tier=tier, reason=why) for tier, why in closed.items() if why]
    return [tier for tier in able if not closed[tier]], refusals


def _refusal(tier: str, needed_tokens: int, facts: RoutingFacts) -> str | None:
    """Why this tier cannot serve here at any time, None when it can."""
    profile = facts.profile
    spec = profile.tiers.get(tier)
    if spec is None:
        return f"the profile {profile.name} has no such tier"
    if not facts.rules.allows(spec.line):
        return f"the operator keeps agents off the {spec.line} line"
    if spec.expected_mib > profile.memory_budget_mib:
        return f"takes about {spec.expected_mib:.0f} MiB, models may take {profile.memory_budget_mib:.0f} here"
    if needed_tokens > spec.context_tokens:
        return f"needs about {needed_tokens} tokens, its context is {spec.context_tokens}"
    return None


def _preference(request: ModelRequest, rules: RoutingRules) -> tuple[str, str]:
    wished_small = request.quality is Quality.QUICK
    small = wished_small or (request.kind in rules.small_kinds and request.quality is not Quality.GOOD)
    return ("tiny", "heavy") if small else ("heavy", "tiny")


def _late_by_seconds(request: ModelRequest, line: str, facts: RoutingFacts) -> float:
    if request.due_at is None:
        return 0.0
    left = (request.due_at - facts.now).total_seconds()
    if left <= 0:
        return 0.0  # already late everywhere: no reason to prefer another tier
    return expected_wait_seconds(line, facts) + facts.median_seconds.get(line, 0.0) - left


def _misses(lateness: float, request: ModelRequest) -> str:
    due = f"{request.due_at.astimezone(UTC):%H:%M} UTC" if request.due_at else "its due time"
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
    closed = f"; {facts.paused[line]}" if line in facts.paused else ""
    return f"{fit}; line {line}: {ahead} ahead, about {wait:.0f} s; {'resident' if here else 'to be loaded'}{closed}"
