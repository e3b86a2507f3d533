"""How bad each resource is, with hysteresis: high above one mark, calm only below a lower one.

Pure. A reading that is unknown keeps its resource unknown; unknown is never zero and never escalates.
"""

import math
from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator

from governor.policy.facts import Fact, Level, Reading

# Readings in a row before a level changes upwards: one spike is not pressure (nohang and systemd-oomd
# want 30 s of it; the governor looks every few minutes, so two looks).
PERSISTENCE = 2


class Mark(Fact):
    """Marks of one reading. `high` trips, `low` calms; `rising_is_bad` False is for free memory."""

    reading: str
    high: float
    low: float
    rising_is_bad: bool = True

    @model_validator(mode="after")
    def _leaves_a_band(self) -> "Mark":
        if (self.high <= self.low) if self.rising_is_bad else (self.high >= self.low):
            raise ValueError(f"{self.reading}: the calm mark must lie on the calm side of the high mark")
        return self


class Assessment(Fact):
    """Level of each resource, and how many readings in a row stood past its high mark.

    The count stays while a resource is HIGH, also while it cannot be read: it is what the level comes from.
    """

    levels: dict[str, Level] = Field(default_factory=dict)
    streaks: dict[str, int] = Field(default_factory=dict)

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Resources that were HIGH when they were last read, and cannot be read now."""
        return tuple(
            name
            for name, level in self.levels.items()
            if level is Level.UNKNOWN and self.streaks.get(name, 0) >= PERSISTENCE
        )

    @property
    def worst(self) -> Level:
        """HIGH when any resource is; CALM when one is known to be and none is unresolved; else UNKNOWN."""
        levels = set(self.levels.values())
        if Level.HIGH in levels:
            return Level.HIGH
        return Level.CALM if Level.CALM in levels and not self.unresolved else Level.UNKNOWN


def assess(readings: Sequence[Reading], marks: Sequence[Mark], previous: Assessment) -> Assessment:
    """Levels after one more set of readings; a resource without a mark is not looked at."""
    values: Mapping[str, float | None] = {r.name: r.value for r in readings}
    levels, streaks = {}, {}
    for mark in marks:
        name = mark.reading
        levels[name], streaks[name] = _next(values.get(name), mark, previous.streaks.get(name, 0))
    return Assessment(levels=levels, streaks=streaks)


def _next(value: float | None, mark: Mark, streak: int) -> tuple[Level, int]:
    was_high = streak >= PERSISTENCE
    if value is None or math.isnan(value):
        return Level.UNKNOWN, PERSISTENCE if was_high else 0
    sign = 1.0 if mark.rising_is_bad else -1.0
    if sign * value >= sign * mark.high:
        streak = min(streak + 1, PERSISTENCE)
    elif not was_high or sign * value <= sign * mark.low:
        streak = 0
    return (Level.HIGH if streak >= PERSISTENCE else Level.CALM), streak
