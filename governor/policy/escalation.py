"""From pressure to a rung of the ladder: one rung at a time, up and down. Pure.

So far the ladder is `normal -> trim`; every later rung is a member of `Rung` in order.
"""

from governor.policy.facts import Fact, Level, Rung

LADDER = (Rung.NORMAL, Rung.TRIM)
# Trim shortens how long an idle model may stay: to a quarter.
TRIMMED_KEEP_ALIVE_SHARE = 0.25


class Step(Fact):
    """Where the governor stands after a look, and why."""

    rung: Rung
    reason: str
    changed: bool


def plan(worst: Level, rung: Rung, *, causes: tuple[str, ...] = ()) -> Step:
    """One rung up under high pressure, one down when calm, none on unknown. `causes` are named in the reason."""
    at = LADDER.index(rung)
    on = ", ".join(causes) or "memory"
    if worst is Level.HIGH and at + 1 < len(LADDER):
        return Step(rung=LADDER[at + 1], reason=f"pressure on {on}", changed=True)
    if worst is Level.HIGH:
        return Step(rung=rung, reason=f"still pressure on {on}", changed=False)
    if worst is Level.CALM and at > 0:
        return Step(rung=LADDER[at - 1], reason="calm again", changed=True)
    if worst is Level.UNKNOWN:
        return Step(rung=rung, reason="not enough could be read; unknown moves nothing", changed=False)
    return Step(rung=rung, reason="calm", changed=False)


def keep_alive_seconds(rung: Rung, normal_seconds: float) -> float:
    """How long an idle model may stay on this rung."""
    return normal_seconds if rung is Rung.NORMAL else normal_seconds * TRIMMED_KEEP_ALIVE_SHARE
