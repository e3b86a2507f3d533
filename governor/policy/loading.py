"""Whether a load that is under way may go on: what will be free when the next look is too late.

Pure. `governor.load_watch` measures every tenth of a second and ends the load.
"""

from governor.policy.facts import Fact

# The issue of a load that turns bad is decided in a quarter of a second: a 6 GB card fills in 0.35 to 1.3 s, an
# engine is ended in 0.14 s (both measured).
AHEAD_SECONDS = 0.25
# Admission keeps 400 MiB free (ComfyUI's reserve). A desktop breathes by tens of MiB while a model loads: a load
# that ends at the first of them loses its route for nothing, so it ends when half of the reserve is at risk.
STOP_BELOW_MIB = 200.0


class Filling(Fact):
    """A memory while a model comes in.

    Attributes:
        free_mib: free now. ours_mib: what the newcomer has taken so far.
        expected_mib: what it is expected to take, need_mib: with its spread, as it was admitted.
        ours_rate, others_rate: MiB per second that it, and everybody else, took since the last look.
    """

    free_mib: float
    ours_mib: float
    expected_mib: float
    need_mib: float
    ours_rate: float = 0.0
    others_rate: float = 0.0


def foreseen_free_mib(seen: Filling) -> float:
    """What will be free in 0.25 s if all goes on as it does.

    A load fills as fast as the disk and the bus allow and then stops, so within what it was admitted with it
    counts only for what it has still to take: the bare rate would end every healthy load near its end.
    """
    ours = max(0.0, seen.ours_rate) * AHEAD_SECONDS
    if seen.ours_mib <= seen.need_mib:
        ours = min(ours, max(0.0, seen.expected_mib - seen.ours_mib))
    return seen.free_mib - ours - max(0.0, seen.others_rate) * AHEAD_SECONDS


def must_stop(seen: Filling, *, floor_mib: float) -> str | None:
    """Why the load has to end now, None when it may go on."""
    foreseen = foreseen_free_mib(seen)
    if foreseen >= floor_mib:
        return None
    return (
        f"{seen.free_mib:.0f} MiB are free while it loads and {max(0.0, foreseen):.0f} would be in a moment;"
        f" {floor_mib:.0f} have to stay"
    )
