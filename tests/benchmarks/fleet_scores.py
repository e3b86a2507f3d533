"""From scored answers to figures: what is right, what was known to be wrong, what it took, and how sure that is."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist, fmean
from typing import Any

from tests.benchmarks.fleet_samples import FIELDS
from tests.benchmarks.fleet_ways import Score
from tests.benchmarks.report import quotient, rounded

# Two-sided, 95%.
Z = NormalDist().inv_cdf(0.975)
DIGITS = 3


def figures(scores: Sequence[Score]) -> dict[str, Any]:
    """Of one way. Shares are of all questions unless the name says of which."""
    chosen = [score for score in scores if score.question.request.choices]
    filled = [score for score in scores if not score.question.request.choices]
    verified = [score for score in scores if score.verified]
    wrong = [score for score in scores if not score.right]
    low, high = interval(scores)
    return {
        "accuracy": _share(score.right for score in scores),
        "accuracy_95_percent": [round(low, DIGITS), round(high, DIGITS)],
        "accuracy_of_labels": _share(score.right for score in chosen),
        "accuracy_of_documents": _share(score.right for score in filled),
        "accuracy_of_fields": rounded(
            fmean(score.fields / len(FIELDS) for score in filled) if filled else None, DIGITS
        ),
        "delivered_right": _share(score.delivered for score in scores),
        "verified": _share(score.verified for score in scores),
        "right_of_verified": _share(score.right for score in verified),
        "right_of_verified_documents": _share(score.right for score in filled if score.verified),
        "wrong_and_said_so_of_wrong": _share(not score.verified for score in wrong),
        "seconds_per_item": rounded(fmean(score.seconds for score in scores) if scores else None, DIGITS),
        "seconds_per_label": rounded(fmean(score.seconds for score in chosen) if chosen else None, DIGITS),
        "seconds_per_document": rounded(fmean(score.seconds for score in filled) if filled else None, DIGITS),
        "calls_per_item": rounded(fmean(score.calls for score in scores) if scores else None, DIGITS),
        "answers_by_tier": {tier: sum(s.tier == tier for s in scores) for tier in sorted({s.tier for s in scores})},
    }


def by_agent(ways: dict[str, Sequence[Score]]) -> dict[str, dict[str, float | None]]:
    """Accuracy of each way at each agent's work."""
    agents = sorted({score.question.agent for scores in ways.values() for score in scores})
    return {
        agent: {way: _share(s.right for s in scores if s.question.agent == agent) for way, scores in ways.items()}
        for agent in agents
    }


def interval(scores: Sequence[Score]) -> tuple[float, float]:
    """Wilson's, for the share that is right. An item that several splits score counts once: it is items that vary."""
    items = len({(score.question.agent, score.question.item) for score in scores})
    if not items:
        return 0.0, 1.0
    share, spread = fmean(score.right for score in scores), Z * Z / items
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / items + spread / (4 * items))
    return middle - half, middle + half


def at_random(small: Sequence[Score], large: Sequence[Score], seconds_per_item: float) -> dict[str, Any]:
    """What a coin that sends items to either model gets right on average when it may take so many seconds an item."""
    cheap, dear = (fmean(score.seconds for score in scores) for scores in (small, large))
    share = 1.0 if dear <= cheap else min(1.0, max(0.0, (seconds_per_item - cheap) / (dear - cheap)))
    right, wrong = (fmean(score.right for score in scores) for scores in (small, large))
    return {
        "share_to_the_larger": round(share, DIGITS),
        "accuracy": round((1 - share) * right + share * wrong, DIGITS),
        "seconds_per_item": round((1 - share) * cheap + share * dear, DIGITS),
    }


def against(ours: Sequence[Score], other: Sequence[Score]) -> dict[str, Any]:
    """Item by item: what ours gets right and the other does not, and the reverse; `chance`: that a coin parts them so.

    Of an item that several splits score, most of them decide.
    """
    mine, theirs = _by_item(ours), _by_item(other)
    gained = sum(mine[item] > 0.5 >= theirs[item] for item in mine)
    lost = sum(theirs[item] > 0.5 >= mine[item] for item in mine)
    return {"gained_items": gained, "lost_items": lost, "chance": round(sign_test(gained, lost), DIGITS)}


def compared(ours: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What routing adds to another way, in points, and what it costs as a share of it."""
    seconds = quotient(ours["seconds_per_item"], other["seconds_per_item"])
    return {
        "accuracy_points": round(100 * (ours["accuracy"] - other["accuracy"]), 1),
        "delivered_points": round(100 * (ours["delivered_right"] - other["delivered_right"]), 1),
        "seconds": rounded(seconds, 2),
    }


def sign_test(gained: int, lost: int) -> float:
    """Two-sided, exact: how often a fair coin is at least as one-sided."""
    count = gained + lost
    tail = sum(math.comb(count, k) for k in range(min(gained, lost) + 1)) / 2**count
    return min(1.0, 2 * tail)


def _by_item(scores: Sequence[Score]) -> dict[tuple[str, str], float]:
    right: dict[tuple[str, str], list[bool]] = {}
    for score in scores:
        right.setdefault((score.question.agent, score.question.item), []).append(score.right)
    return {item: fmean(each) for item, each in right.items()}


def _share(flags: Iterable[bool]) -> float | None:
    counted = list(flags)
    return round(fmean(counted), DIGITS) if counted else None
