"""When idle models leave memory although nobody needs their room: by day and by night, by time and by fullness.

Pure. `governor.evicting` measures, claims the rows and tells the engines.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, time
from zoneinfo import ZoneInfo

from pydantic import field_validator

from governor.policy.facts import Fact, Held
from governor.policy.residency import evictable, minimum_residency_seconds


class Marks(Fact):
    """Shares of a memory in use, whoever uses it: evicting begins above `high` and goes on down to `low`."""

    high_percent: float
    low_percent: float


class Hours(Fact):
    """Marks by day and by night, and when it is night: by the clock on the wall of `zone`, also when that jumps.

    A night that begins at 23:00 and ends at 07:00 lasts seven hours in spring and nine in autumn.
    """

    day: Marks = Marks(high_percent=90, low_percent=80)
    night: Marks = Marks(high_percent=75, low_percent=65)
    night_from: time = time(23, 0)
    night_until: time = time(7, 0)
    zone: str = "UTC"

    @field_validator("night_from", "night_until")
    @classmethod
    def _on_the_wall(cls, value: time) -> time:
        """Without the offset that a form may send: times with and without one cannot be compared."""
        return value.replace(tzinfo=None)

    def is_night(self, now: datetime) -> bool:
        """Whether it is night at `now` (aware). From = until means that it never is."""
        wall = now.astimezone(ZoneInfo(self.zone)).time()
        if self.night_from <= self.night_until:
            return self.night_from <= wall < self.night_until
        return wall >= self.night_from or wall < self.night_until

    def marks(self, now: datetime) -> Marks:
        """Those that count at `now`."""
        return self.night if self.is_night(now) else self.day


class Leaving(Fact):
    """One who leaves, and why."""

    resident_id: int
    reason: str


def overstayed(
    held: Sequence[Held],
    *,
    keep_alive_seconds: float,
    own_seconds: Mapping[str, float] | None = None,
    next_use_seconds: Mapping[str, float] | None = None,
) -> list[Leaving]:
    """Who has been idle longer than its keep-alive; one whose next use is due before it would be back stays.

    Args:
        own_seconds: keep-alive of single models, by name.
        next_use_seconds: seconds until the next use that is foretold, by name.
    """
    found = []
    for model in evictable(held):
        keep = (own_seconds or {}).get(model.model, keep_alive_seconds)
        soon = (next_use_seconds or {}).get(model.model)
        least = minimum_residency_seconds(model)
        if model.idle_seconds > keep and model.age_seconds >= least and (soon is None or soon > least):
            why = f"idle for {model.idle_seconds:.0f} s, the keep-alive is {keep:.0f} s"
            found.append(Leaving(resident_id=model.resident_id, reason=why))
    return found


def past_mark(
    held: Sequence[Held],
    used_percent: float | None,
    *,
    marks: Marks,
    evicting: bool = False,
    next_use_seconds: Mapping[str, float] | None = None,
) -> Leaving | None:
    """The one who leaves now because the memory is fuller than the marks allow; None when nobody has to or can.

    It is the idle one whose next use is farthest away (one that is not foretold: farther than all that are),
    then the one that is idle longest. Asked again, with `evicting` and a new measurement, after each who left.
    An unknown fullness evicts nobody (invariant 24).
    """
    limit = marks.low_percent if evicting else marks.high_percent
    if used_percent is None or used_percent <= limit:
        return None
    away = next_use_seconds or {}
    old_enough = [h for h in evictable(held) if h.age_seconds >= minimum_residency_seconds(h)]
    if not old_enough:
        return None
    last = max(old_enough, key=lambda h: (away.get(h.model, float("inf")), h.idle_seconds, -h.resident_id))
    why = f"{used_percent:.0f}% of the memory is in use, the mark is {limit:.0f}%"
    return Leaving(resident_id=last.resident_id, reason=why)
