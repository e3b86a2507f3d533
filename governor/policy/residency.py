"""What may stay in memory and who leaves first: least recently used, never the busy, never the pinned.

Pure. `governor.residency` claims the rows and tells the engines.
"""

import math
from collections.abc import Sequence

from governor.policy.facts import Fact, Held

# A model that just came in is about to be used: evicting it would load it twice.
MINIMUM_RESIDENCY_SECONDS = 10.0


class Room(Fact):
    """Who must leave so that the newcomer fits; `fits` is False when nothing would be enough."""

    fits: bool
    evict: tuple[int, ...] = ()
    reason: str


def evictable(held: Sequence[Held]) -> list[Held]:
    """The idle and unpinned, longest idle first."""
    return sorted((h for h in held if not h.busy and not h.pinned), key=lambda h: (-h.idle_seconds, h.resident_id))


def make_room(held: Sequence[Held], *, need_mib: float, budget_mib: float, free_mib: float | None = None) -> Room:
    """Fewest evictions, longest idle first, after which the newcomer fits.

    Args:
        held: all that is in memory, on its way in or out included.
        need_mib: what the newcomer takes.
        budget_mib: what all models together may take.
        free_mib: measured free memory of the device that all of `held` live on; None when it is not
            known, then the budget alone decides.
    """
    if need_mib > budget_mib:
        return Room(fits=False, reason=f"it needs {need_mib:.0f} MiB and the budget is {budget_mib:.0f}")
    used_mib = sum(h.memory_mib for h in held)
    free_mib = math.inf if free_mib is None else free_mib
    evict: list[int] = []
    for victim in evictable(held):
        if used_mib + need_mib <= budget_mib and need_mib <= free_mib:
            break
        evict.append(victim.resident_id)
        used_mib -= victim.memory_mib
        free_mib += victim.memory_mib
    if used_mib + need_mib > budget_mib:
        return Room(fits=False, reason=f"models in use hold {used_mib:.0f} of {budget_mib:.0f} MiB")
    if need_mib > free_mib:
        return Room(fits=False, reason=f"it needs {need_mib:.0f} MiB and at most {free_mib:.0f} can be free")
    return Room(fits=True, evict=tuple(evict), reason=f"{used_mib + need_mib:.0f} of {budget_mib:.0f} MiB")


def idle_to_evict(held: Sequence[Held], *, keep_alive_seconds: float) -> list[tuple[int, str]]:
    """Who has been idle longer than the keep-alive, with the reason."""
    return [
        (h.resident_id, f"idle for {h.idle_seconds:.0f} s, the keep-alive is {keep_alive_seconds:.0f} s")
        for h in evictable(held)
        if h.idle_seconds > keep_alive_seconds and h.age_seconds >= MINIMUM_RESIDENCY_SECONDS
    ]
