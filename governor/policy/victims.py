"""Which of our models leaves a memory that is under pressure, and which one is ended when none idles. Pure.

For a newcomer's room it is `eviction` that chooses, by what is to come; here the machine comes first.
"""

from collections.abc import Mapping, Sequence

from governor.policy.facts import Held


def next_victim(
    held: Sequence[Held], *, first: str = "", away_seconds: Mapping[str, float] | None = None
) -> Held | None:
    """The idle model to unload: the one that the pressure is about, else the one needed last, then idle longest.

    Never one in use, a pinned one, or one that was told to leave and gave nothing back.
    """
    idle = [h for h in held if not (h.busy or h.pinned or h.stuck)]
    away = away_seconds or {}
    order = [((h.model == first), away.get(h.model, float("inf")), h.idle_seconds, -h.resident_id) for h in idle]
    return idle[order.index(max(order))] if idle else None


def next_to_force(held: Sequence[Held]) -> Held | None:
    """Who is ended at the last rung: a pinned one that idles, then the largest in use. A pin is no reason to freeze."""
    there = [h for h in held if h.settled and not h.stuck and (h.busy or h.pinned)]
    return max(there, key=lambda h: (not h.busy, h.memory_mib, -h.resident_id), default=None)
