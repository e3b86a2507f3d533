"""The ladder's records: where it stands, what a look comes to, and what its gentlest rung shortens. Pure.

How it moves is `escalation`.
"""

from datetime import datetime

from pydantic import Field

from governor.policy.facts import Fact, Held, Rung

LADDER = tuple(Rung)
# Trim shortens how long an idle model may stay: to a quarter.
TRIMMED_KEEP_ALIVE_SHARE = 0.25


class Cooldown(Fact):
    """How long an act is given to show in the readings (`up`), and how long it is better before a rung down (`down`).

    Memory is back 0.3 s after an unload; and who comes back too soon only has to go again.
    """

    up_seconds: float = 10.0
    down_seconds: float = 30.0


class Standing(Fact):
    """Where the ladder stands.

    Attributes:
        moved_at: the last step or act, None before the first. acted: the same by memory, where it is to be waited for.
        reached: by memory the rung that was reached there since it left `normal`.
        causes: the readings that led up since then, each with the model that it was about: only who sees them calm
            may come down.
    """

    rung: Rung = Rung.NORMAL
    moved_at: datetime | None = None
    acted: dict[str, datetime] = Field(default_factory=dict)
    reached: dict[str, Rung] = Field(default_factory=dict)
    causes: dict[str, str] = Field(default_factory=dict)

    def stands_at(self, memory: str) -> Rung:
        """How far it is in one memory: no further than it is at all."""
        return min(self.rung, self.reached.get(memory, Rung.NORMAL), key=LADDER.index)

    def at_least(self, rung: Rung, memory: str) -> bool:
        """Whether what `rung` does is in force in this memory."""
        return LADDER.index(self.stands_at(memory)) >= LADDER.index(rung)


class Move(Fact):
    """What a look comes to: where the ladder stands after it, and at most one model to act on.

    Attributes:
        evict: the idle resident to unload. terminate: the one in use to end. Never both.
        memory: where it is made, '' where the ladder as a whole comes down. causes: the readings that it is for.
        urgent: it was done without waiting, because the next look would have been too late.
    """

    standing: Standing
    reason: str
    changed: bool = False
    evict: int | None = None
    terminate: int | None = None
    memory: str = ""
    causes: tuple[str, ...] = ()
    urgent: bool = False

    @property
    def rung(self) -> Rung:
        """Where it stands."""
        return self.standing.rung


class Scene(Fact):
    """What is known beside the pressure.

    Attributes:
        held: every model in memory. away_seconds: until the next use of a model, where it is foretold.
        now: aware UTC. ahead_seconds: until the next look.
    """

    held: tuple[Held, ...] = ()
    away_seconds: dict[str, float] = Field(default_factory=dict)
    now: datetime
    ahead_seconds: float = 0.0


def keep_alive_seconds(rung: Rung, normal_seconds: float) -> float:
    """How long an idle model may stay on this rung."""
    return normal_seconds if rung is Rung.NORMAL else normal_seconds * TRIMMED_KEEP_ALIVE_SHARE
