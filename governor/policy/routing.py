"""Which model does a piece of work, and why. Pure: facts in, ordered candidates and refusals out.

Every tier is either refused, with the reason (`policy.refusing`), or a candidate (`policy.candidates`). Those that are
enough for the work come first, and among them the one whose checked answer can be had soonest: seconds to an answer,
divided by the chance that it passes, is what a try costs for each success, and tries in that order cost least in all.
What would miss the due time is refused while another one makes it, and kept in reserve for when nobody answers.
"""

from collections.abc import Sequence
from datetime import UTC

from governor.policy import gains, refusing
from governor.policy.adequacy import enough_billion, is_made_for, size_billion
from governor.policy.candidates import (
    RoutingFacts,
    Seated,
    cloud_candidate,
    expected_wait_seconds,
    local_candidate,
    seat_seconds,
)
from governor.policy.requests import Candidate, ModelRequest, Privacy, Quality, Refusal, Route
from governor.policy.tokens import needed_tokens

__all__ = ["RoutingFacts", "Seated", "choose", "expected_wait_seconds", "seat_seconds"]

NO_TIER = "cloud"
# A model that passed so little of so many is not enough for the work, whatever its size.
POOR_CHANCE, POOR_TRIES = 0.3, 20
# To learn is worth little: a trial costs at most twice what the best costs, and a minute.
TRIAL_TIMES, TRIAL_SECONDS = 2.0, 60.0


def choose(request: ModelRequest, facts: RoutingFacts) -> Route:
    """Tiers in order of preference; one that cannot serve the request in time is refused with the reason.

    When no tier would be in time, the one that is late by least still does it, and says so. A tier whose line is
    paused is left out while another one can serve; else it waits there, within the agent's patience.
    """
    needed = needed_tokens(request) if facts.counted_tokens is None else facts.counted_tokens
    able, refusals = _at_home(request, facts, needed)
    clouds, refused = _in_the_cloud(request, facts, needed)
    able, closed = _open(able, clouds, facts)
    ordered = sorted([*able, *clouds], key=lambda candidate: _rank(candidate, request, facts))
    in_time, late = _by_due_time(ordered, request, facts)
    missed = [Refusal(tier=c.tier, reason=_misses(_late_by_seconds(c, request, facts), request)) for c in late]
    return Route(
        candidates=tuple(in_time),
        late=tuple(late),
        trial=_trial(in_time, request, facts),
        refusals=(*refusals, *refused, *closed, *missed),
    )


def _at_home(request: ModelRequest, facts: RoutingFacts, needed: int) -> tuple[list[Candidate], list[Refusal]]:
    """The models of this machine that can do it, and why the others cannot."""
    able, refusals = [], []
    for tier, spec in facts.profile.tiers.items():
        refused = refusing.at_home(spec, facts.profile, facts.rules, request.kind, needed)
        if refused is None:
            able.append(local_candidate(tier, spec, request, facts, needed))
        else:
            refusals.append(Refusal(tier=tier, reason=refused))
    return able, refusals


def _in_the_cloud(request: ModelRequest, facts: RoutingFacts, needed: int) -> tuple[list[Candidate], list[Refusal]]:
    """The tiers of the cloud that may see it and can do it. Private work looks at none of them."""
    if request.allowed is Privacy.LOCAL_ONLY:
        return [], [Refusal(tier=NO_TIER, reason=refusing.private(request))]
    if not facts.clouds:
        return [], [Refusal(tier=NO_TIER, reason="no tier of the cloud has a key")]
    able, refusals = [], []
    for cloud in facts.clouds:
        refused = refusing.in_the_cloud(cloud, request, facts.rules, needed, facts.now)
        if refused is None:
            able.append(cloud_candidate(cloud, request, facts))
        else:
            refusals.append(Refusal(tier=cloud.model.name, reason=refused.why, until=refused.until))
    return able, refusals


def _open(able: list[Candidate], clouds: list[Candidate], facts: RoutingFacts) -> tuple[list[Candidate], list[Refusal]]:
    """Without the tiers of paused lines, unless nobody else can serve."""
    closed = {c.tier: facts.paused[c.spec.line] for c in able if c.spec and c.spec.line in facts.paused}
    if len(closed) == len(able) and not clouds:
        return able, []
    kept = [candidate for candidate in able if candidate.tier not in closed]
    return kept, [Refusal(tier=tier, reason=why) for tier, why in closed.items()]


def _rank(candidate: Candidate, request: ModelRequest, facts: RoutingFacts) -> tuple[float, ...]:
    """Enough for the work first, within patience, specialists, then by cost. Of the too small the largest first."""
    size, made_for = size_billion(candidate.spec, candidate.cloud), is_made_for(candidate.spec, request.kind)
    is_poor = _is_poor(candidate, facts)
    if is_poor or size < enough_billion(request):
        return (1, is_poor, not made_for, -size, _cost(candidate))
    patience = facts.patience_seconds
    overstays = candidate.spec is not None and patience is not None and candidate.wait_seconds > patience
    return (0, overstays, not made_for, _cost(candidate))


def _cost(candidate: Candidate) -> float:
    """Seconds that one answer that passes costs."""
    return (candidate.wait_seconds + candidate.work_seconds + candidate.price_seconds) / candidate.chance


def _is_poor(candidate: Candidate, facts: RoutingFacts) -> bool:
    tally = facts.gains.of_kind.get(candidate.model)
    return tally is not None and tally.tried >= POOR_TRIES and candidate.chance <= POOR_CHANCE


def _by_due_time(
    ordered: Sequence[Candidate], request: ModelRequest, facts: RoutingFacts
) -> tuple[list[Candidate], list[Candidate]]:
    """Those in time, and those that are not, the least late first, which serves when none is in time."""
    if request.due_at is None:
        return list(ordered), []
    in_time = [candidate for candidate in ordered if _late_by_seconds(candidate, request, facts) <= 0]
    late = [candidate for candidate in ordered if _late_by_seconds(candidate, request, facts) > 0]
    late.sort(key=lambda candidate: _late_by_seconds(candidate, request, facts))
    if late and not in_time:
        least = late.pop(0)
        missed = f"{least.reason}, though it {_misses(_late_by_seconds(least, request, facts), request)}"
        in_time = [least.model_copy(update={"reason": missed})]
    return in_time, late


def _late_by_seconds(candidate: Candidate, request: ModelRequest, facts: RoutingFacts) -> float:
    if request.due_at is None:
        return 0.0
    left = (request.due_at - facts.now).total_seconds()
    if left <= 0:
        return 0.0  # already late everywhere: no reason to prefer another tier
    return candidate.wait_seconds + candidate.work_seconds - left


def _misses(lateness: float, request: ModelRequest) -> str:
    due = f"{request.due_at.astimezone(UTC):%H:%M} UTC" if request.due_at else "its due time"
    by = f"{lateness / 60:.0f} min" if lateness >= 60 else f"{lateness:.0f} s"
    return f"would miss {due} by {by}"


def _trial(in_time: Sequence[Candidate], request: ModelRequest, facts: RoutingFacts) -> Candidate | None:
    """Another than the best that gets one request now and then, or nothing would be learned about it.

    Never when somebody waits for the answer, and only where it costs about as much as the best.
    """
    if not facts.rules.explores or request.due_at is not None or not request.is_checked or len(in_time) < 2:
        return None
    if request.quality is Quality.QUICK:
        return None
    best, *others = in_time
    most, enough = TRIAL_TIMES * _cost(best) + TRIAL_SECONDS, enough_billion(request)
    able = [c for c in others if size_billion(c.spec, c.cloud) >= enough and _cost(c) <= most]
    named = gains.to_explore([candidate.model for candidate in (best, *able)], facts.gains, facts.draw)
    chosen = next((candidate for candidate in able if candidate.model == named), None)
    return chosen and chosen.model_copy(update={"reason": f"{chosen.reason}; this one request, to learn how it does"})
