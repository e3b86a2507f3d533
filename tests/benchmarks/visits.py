"""What fifty visits to one desk say about its line. Pure: the waiters stamp, this counts.

Every moment is CLOCK_MONOTONIC of this boot, which all processes share.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.benchmarks.report import percentile, rounded

# Closer arrivals than this have no order that a caller could know of.
SAME_MOMENT_SECONDS = 0.005


@dataclass(frozen=True)
class Visit:
    """One waiter's way: called for the desk, sat down, had the desk, and was done with it.

    Attributes:
        left_s: the end of the hold, before the desk is handed on: a gap counts the whole hand-over.
        cpu_s: CPU seconds of the waiter's process while it waited, by stage; together all of its wait.
        calls_by_place: how many calls for the server it made at which place in line before it sat (ours only).
    """

    arrival_s: float
    seated_s: float
    left_s: float
    cpu_s: dict[str, float]
    calls_by_place: dict[int, int] = field(default_factory=dict)


def gaps_ms(visits: Sequence[Visit]) -> list[float]:
    """How long nobody sat between two visits although the next waiter was there; negative for an overlap."""
    served = sorted(visits, key=lambda visit: visit.seated_s)
    return [1000 * (after.seated_s - one.left_s) for one, after in pairwise(served) if after.arrival_s <= one.left_s]


def inversions(visits: Sequence[Visit]) -> int:
    """Pairs that were served against the order of their arrival, which was more than 5 ms apart."""
    come = sorted(visits, key=lambda visit: visit.arrival_s)
    pairs = ((early, late) for number, early in enumerate(come) for late in come[number + 1 :])
    return sum(
        late.arrival_s - early.arrival_s > SAME_MOMENT_SECONDS and late.seated_s < early.seated_s
        for early, late in pairs
    )


def overlaps(visits: Sequence[Visit]) -> int:
    """How many sat down while another one still held the desk."""
    found, ends_s = 0, float("-inf")
    for visit in sorted(visits, key=lambda visit: visit.seated_s):
        found += visit.seated_s < ends_s
        ends_s = max(ends_s, visit.left_s)
    return found


def makespan_seconds(visits: Sequence[Visit]) -> float:
    """From the first arrival to the end of the last hold."""
    return max(visit.left_s for visit in visits) - min(visit.arrival_s for visit in visits)


def ideal_seconds(visits: Sequence[Visit], hold_seconds: float) -> float:
    """The makespan of the same arrivals, served in their order with no gap at all."""
    arrivals = sorted(visit.arrival_s for visit in visits)
    done_s = arrivals[0]
    for arrival_s in arrivals:
        done_s = max(done_s, arrival_s) + hold_seconds
    return done_s - arrivals[0]


def deep_calls(visits: Sequence[Visit]) -> int:
    """Calls for the server by waiters deeper than place 2."""
    return sum(count for visit in visits for place, count in visit.calls_by_place.items() if place > 2)


def figures(visits: Sequence[Visit], hold_seconds: float) -> dict[str, Any]:
    """All of it, with units in the names."""
    gaps, makespan, ideal = gaps_ms(visits), makespan_seconds(visits), ideal_seconds(visits, hold_seconds)
    stages = {stage: sum(visit.cpu_s.get(stage, 0.0) for visit in visits) for stage in visits[0].cpu_s}
    in_line_s = stages.get("in_line", stages.get("waiting", 0.0))
    return {
        "waiters": len(visits),
        "gaps": len(gaps),
        "gap_p50_ms": rounded(percentile(gaps, 0.5)),
        "gap_p95_ms": rounded(percentile(gaps, 0.95)),
        "gap_max_ms": rounded(max(gaps, default=None)),
        "makespan_seconds": rounded(makespan, 3),
        "ideal_seconds": rounded(ideal, 3),
        "makespan_over_ideal": rounded(makespan / ideal, 4),
        "inversions": inversions(visits),
        "pairs": len(visits) * (len(visits) - 1) // 2,
        "overlaps": overlaps(visits),
        "waiting_cpu_seconds": rounded(sum(stages.values()), 3),
        "waiting_cpu_percent_of_one_core": rounded(100 * sum(stages.values()) / makespan, 2),
        "in_line_cpu_percent_of_one_core": rounded(100 * in_line_s / makespan, 2),
        "waiting_cpu_ms_per_waiter": {stage: rounded(1000 * spent / len(visits), 2) for stage, spent in stages.items()},
    }
