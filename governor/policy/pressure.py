"""How bad each resource is, with hysteresis: high above one mark, calm only below a lower one.

Pure. A reading that is unknown keeps its resource unknown; unknown is never zero and never escalates.
"""

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
    """Level of each resource and how many readings in a row stood past its high mark."""

    levels: dict[str, Level] = Field(default_factory=dict)
    streaks: dict[str, int] = Field(default_factory=dict)

    @property
    def worst(self) -> Level:
        """HIGH when any resource is, else CALM when any is known, else UNKNOWN."""
        for level in (Level.HIGH, Level.CALM):
            if level in self.levels.values():
                return level
        return Level.UNKNOWN


def assess(readings: Sequence[Reading], marks: Sequence[Mark], previous: Assessment) -> Assessment:
    """Levels after one more set of readings."""
    values: Mapping[str, float | None] = {r.name: r.value for r in readings}
    levels, streaks = {}, {}
    for mark in marks:
        level = previous.levels.get(mark.reading, Level.UNKNOWN)
        streak = previous.streaks.get(mark.reading, 0)
        levels[mark.reading], streaks[mark.reading] = _next(values.get(mark.reading), mark, level, streak)
    return Assessment(levels=levels, streaks=streaks)


def _next(value: float | None, mark: Mark, level: Level, streak: int) -> tuple[Level, int]:
    if value is None:
        return Level.UNKNOWN, 0
    sign = 1.0 if mark.rising_is_bad else -1.0
    if sign * value >= sign * mark.high:
        streak = min(streak + 1, PERSISTENCE)
        return (Level.HIGH if streak >= PERSISTENCE or level is Level.HIGH else Level.CALM), streak
    if level is Level.HIGH and sign * value > sign * mark.low:
        return Level.HIGH, PERSISTENCE
    return Level.CALM, 0
