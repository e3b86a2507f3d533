"""How bad each resource is, with hysteresis, and how soon it will be too late.

Pure. Two marks make a band: a reading is high past the one, calm past the other, and in between nothing begins:
what was high is easing, what was calm stays calm. A reading that is unknown keeps its resource unknown; unknown is
never zero, never escalates and never calms. What follows from it is `escalation`'s to say.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field, model_validator

from governor.policy.facts import Fact, Level, Reading, Rung

# Readings in a row before a level changes upwards: one spike is not pressure.
PERSISTENCE = 2
# Two looks further apart than this tell nothing of the rate at which something fills now.
RATE_WITHIN_SECONDS = 10.0
# What begins to fill gets faster, but one jump is no rate: at most twice the rate of the look before is believed.
FASTER_EACH_LOOK = 2.0


class Band(Fact):
    """A pair of marks: `high` trips, `low` calms. The order tells whether rising is bad, as it is in the day's."""

    high: float
    low: float


class Also(Fact):
    """A second reading that has to be as bad: a rate says nothing without a level. It trips at `high` and stays
    until it falls below `low`.
    """

    reading: str
    high: float
    low: float


class Mark(Fact):
    """Marks of one reading.

    Attributes:
        high: trips. low: calms. rising_is_bad: False for free memory.
        memory: whose pressure it is, `vram` or `ram`; '' when it may be either.
        persistence: readings in a row past `high` before it counts, spacing_seconds: how far apart they must be, for
            figures that are means or do not change sooner.
        night: other marks by night.
        also: a second reading that has to be bad too.
        most: the highest rung that this reading may lead to.
        firm: it leads no further than to idle models until it is past this, None: no such mark.
        firm_with: the same until one of these other readings is high too, (): no such condition.
        brim: where it is too late, for what can fill up suddenly; None when nothing is to be foreseen.
        filled_by: the reading whose growth fills it, None: its own change.
        of_model: it is about one model, and only that one's leaving helps.
        shows_after_seconds: how long an act takes to show in it, where that is longer than the usual cooldown.
    """

    reading: str
    high: float
    low: float
    rising_is_bad: bool = True
    memory: str = ""
    persistence: int = Field(default=PERSISTENCE, ge=1, le=20)
    spacing_seconds: float = 0.0
    night: Band | None = None
    also: Also | None = None
    most: Rung = Rung.FORCE_EVICT
    firm: float | None = None
    firm_with: tuple[str, ...] = ()
    brim: float | None = None
    filled_by: str | None = None
    of_model: bool = False
    shows_after_seconds: float = 0.0

    @model_validator(mode="after")
    def _leaves_a_band(self) -> "Mark":
        for band in (self, self.night) if self.night else (self,):
            if (band.high <= band.low) if self.rising_is_bad else (band.high >= band.low):
                raise ValueError(f"{self.reading}: the calm mark must lie on the calm side of the high mark")
        return self

    def band(self, *, night: bool) -> Band:
        """The marks that count now."""
        return self.night if night and self.night else Band(high=self.high, low=self.low)


class Resource(Fact):
    """One resource after a look.

    Attributes:
        streak: readings in a row past the high mark, kept while it is not calm again, also while it is unknown.
        firm_streak: the same past the firm mark, from 0 again when it is not past that.
        calm: whether it is past its calm mark, whatever it was before.
        at_s: when it was looked at (monotonic seconds). counted_s: when the streak grew last.
        better_since_s: since when it is neither high nor on its way there; None while it is, or while nobody knows.
        value: the last that was known. about: what that was about. event_at: when what it counts happened last.
        fill_rate: what it filled at lately, per second, toward its brim; 0 while it does not fill or nobody can say.
        headroom: what is left until its brim, None without one.
        trusted_rate: the rate, as far as two looks in a row have shown it.
    """

    level: Level
    streak: int = 0
    firm_streak: int = 0
    calm: bool = False
    at_s: float | None = None
    counted_s: float | None = None
    better_since_s: float | None = None
    value: float | None = None
    about: str = ""
    event_at: datetime | None = None
    filled: float | None = None
    fill_rate: float = 0.0
    trusted_rate: float = 0.0
    headroom: float | None = None

    @property
    def is_bad(self) -> bool:
        """High, or past its mark for the first time."""
        return _is_bad(self.level, self.streak)

    @property
    def seconds_left(self) -> float:
        """Until its brim at the rate that two looks in a row have shown; infinite when it does not fill."""
        if self.headroom is None or self.trusted_rate <= 0:
            return math.inf
        return max(0.0, self.headroom) / self.trusted_rate


class Assessment(Fact):
    """Every resource that has a mark, by its reading's name."""

    resources: dict[str, Resource] = Field(default_factory=dict)

    @property
    def levels(self) -> dict[str, Level]:
        """Level of each resource."""
        return {name: resource.level for name, resource in self.resources.items()}

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Resources that were not calm when they were last read, and cannot be read now."""
        return tuple(n for n, r in self.resources.items() if r.level is Level.UNKNOWN and r.streak > 0)

    @property
    def worst(self) -> Level:
        """HIGH when any resource is, else EASING; CALM when one is known to be and none is unresolved."""
        levels = set(self.levels.values())
        if Level.HIGH in levels:
            return Level.HIGH
        if self.unresolved:
            return Level.UNKNOWN
        if Level.EASING in levels:
            return Level.EASING
        return Level.CALM if Level.CALM in levels else Level.UNKNOWN


def assess(
    readings: Sequence[Reading],
    marks: Sequence[Mark],
    previous: Assessment,
    *,
    at_s: float | None = None,
    night: bool = False,
) -> Assessment:
    """Levels after one more set of readings; a resource without a mark is not looked at.

    Args:
        readings: as read now. marks: of what is watched. previous: the look before.
        at_s: monotonic seconds of this look; None, or long after the one before, tells no rates.
        night: whether the marks of the night count.
    """
    known = {r.name: r for r in readings if r.value is not None and math.isfinite(r.value)}
    nothing = Resource(level=Level.UNKNOWN)
    return Assessment(
        resources={
            mark.reading: _next(mark, known, previous.resources.get(mark.reading, nothing), at_s, night)
            for mark in marks
        }
    )


def next_look_seconds(assessment: Assessment, *, least: float, most: float) -> float:
    """When to look again: before the first resource can be at its brim; soon while one with a brim may be bad."""
    sudden = [r for r in assessment.resources.values() if r.headroom is not None]
    if any(r.level is Level.CALM and r.streak for r in sudden):
        return least
    filling = [r for r in sudden if r.fill_rate > 0]
    half_way = min((max(0.0, r.headroom or 0.0) / r.fill_rate / 2 for r in filling), default=most)
    return min(most, max(least, half_way))


def _next(mark: Mark, known: Mapping[str, Reading], was: Resource, at_s: float | None, night: bool) -> Resource:
    reading = known.get(mark.reading)
    if reading is None or reading.value is None:
        return Resource(level=Level.UNKNOWN, streak=was.streak if was.streak >= mark.persistence else 0, at_s=at_s)
    level, streak, calm = _level(mark, reading.value, known, was, at_s, night)
    sign = 1.0 if mark.rising_is_bad else -1.0
    firm = mark.firm is not None and sign * reading.value >= sign * mark.firm
    bad = level is Level.UNKNOWN or _is_bad(level, streak)
    since = was.better_since_s
    if since is None or at_s is None or since > at_s:  # the last: of a boot before this one
        since = at_s
    return Resource(
        level=level,
        streak=streak,
        firm_streak=min(was.firm_streak + 1, mark.persistence) if firm else 0,
        calm=calm,
        at_s=at_s,
        counted_s=at_s if streak > was.streak else was.counted_s,
        better_since_s=None if bad else since,
        value=reading.value,
        about=reading.about,
        event_at=reading.at,
        headroom=None if mark.brim is None else sign * (mark.brim - reading.value),
        **_filling(mark, known, was, at_s),
    )


def _is_bad(level: Level, streak: int) -> bool:
    return level is Level.HIGH or (level is Level.CALM and streak > 0)


def _filling(mark: Mark, known: Mapping[str, Reading], was: Resource, at_s: float | None) -> dict[str, Any]:
    """What fills it, and how fast: between this look and the one before, if that was not long ago."""
    filled = known.get(mark.filled_by or mark.reading)
    if mark.brim is None or filled is None or filled.value is None:
        return {}
    sign = 1.0 if mark.filled_by or mark.rising_is_bad else -1.0
    amount, rate = sign * filled.value, 0.0
    since = None if at_s is None or was.at_s is None else at_s - was.at_s
    if since is not None and 0 < since <= RATE_WITHIN_SECONDS and was.filled is not None:
        rate = max(0.0, (amount - was.filled) / since)
    return {"filled": amount, "fill_rate": rate, "trusted_rate": min(rate, FASTER_EACH_LOOK * was.fill_rate)}


def _level(
    mark: Mark, value: float, known: Mapping[str, Reading], was: Resource, at_s: float | None, night: bool
) -> tuple[Level, int, bool]:
    """The level and the streak after `value`, and whether it is past its calm mark."""
    streak, was_bad = was.streak, was.streak >= mark.persistence
    band, sign = mark.band(night=night), 1.0 if mark.rising_is_bad else -1.0
    past_high, past_low = sign * value >= sign * band.high, sign * value <= sign * band.low
    if mark.also is not None and not past_low:
        other = known.get(mark.also.reading)
        if other is None or other.value is None:
            return Level.UNKNOWN, streak if was_bad else 0, False
        past_high = past_high and other.value >= (mark.also.low if was_bad else mark.also.high)
        past_low = other.value < mark.also.low
    if past_high:
        too_soon = at_s is not None and was.counted_s is not None and 0 <= at_s - was.counted_s < mark.spacing_seconds
        streak = streak if too_soon and streak else min(streak + 1, mark.persistence)
        return (Level.HIGH if streak >= mark.persistence else Level.CALM), streak, False
    if was_bad and not past_low:
        return Level.EASING, streak, False
    return Level.CALM, 0, past_low
