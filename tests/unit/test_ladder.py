"""Hysteresis and one rung at a time (invariants 24 and 25)."""

import math

import pytest
from pydantic import ValidationError

from governor.policy.escalation import keep_alive_seconds, plan
from governor.policy.facts import Level, Reading, Rung
from governor.policy.pressure import Assessment, Mark, assess

USED = Mark(reading="used", high=90, low=75)
FREE = Mark(reading="free", high=10, low=20, rising_is_bad=False)


def run(mark: Mark, values: list[float | None]) -> list[str]:
    seen, levels = Assessment(), []
    for value in values:
        seen = assess([Reading(name=mark.reading, value=value, unit="%")], [mark], seen)
        levels.append(seen.levels[mark.reading].value)
    return levels


@pytest.mark.parametrize(
    ("mark", "values", "expected"),
    [
        (USED, [95, 95], ["calm", "high"]),
        (USED, [95, 50, 95], ["calm", "calm", "calm"]),
        (USED, [95, 95, 80, 80, 74], ["calm", "high", "high", "high", "calm"]),
        (USED, [95, None, 95, 95], ["calm", "unknown", "calm", "high"]),
        # what was high before it could not be read is high at once when it can
        (USED, [95, 95, None, 95], ["calm", "high", "unknown", "high"]),
        (USED, [95, 95, None, 80], ["calm", "high", "unknown", "high"]),
        (USED, [95, 95, None, 70], ["calm", "high", "unknown", "calm"]),
        (USED, [95, 95, math.nan], ["calm", "high", "unknown"]),
        (FREE, [5, 5, 15, 25], ["calm", "high", "high", "calm"]),
        (FREE, [15, 15, 15], ["calm", "calm", "calm"]),
    ],
)
def test_levels_over_time(mark: Mark, values: list[float | None], expected: list[str]):
    assert run(mark, values) == expected


def test_a_missing_sensor_is_unknown():
    assert assess([], [USED], Assessment()).worst is Level.UNKNOWN


def test_pressure_that_cannot_be_read_any_more_is_not_calm():
    was = Assessment(levels={"used": Level.HIGH, "free": Level.CALM}, streaks={"used": 2})
    now = assess([Reading(name="free", value=50, unit="%")], [USED, FREE], was)
    assert now.unresolved == ("used",)
    assert now.worst is Level.UNKNOWN


@pytest.mark.parametrize(
    ("worst", "rung", "expected"),
    [
        (Level.HIGH, Rung.NORMAL, Rung.TRIM),
        (Level.HIGH, Rung.TRIM, Rung.TRIM),
        (Level.CALM, Rung.TRIM, Rung.NORMAL),
        (Level.CALM, Rung.NORMAL, Rung.NORMAL),
        (Level.UNKNOWN, Rung.NORMAL, Rung.NORMAL),
        (Level.UNKNOWN, Rung.TRIM, Rung.TRIM),
    ],
)
def test_one_rung_at_a_time_and_unknown_never_moves(worst: Level, rung: Rung, expected: Rung):
    assert plan(worst, rung).rung is expected


def test_trim_shortens_the_keep_alive():
    assert keep_alive_seconds(Rung.TRIM, 600) < keep_alive_seconds(Rung.NORMAL, 600) == 600


def test_marks_without_a_band_are_refused():
    with pytest.raises(ValidationError, match="calm side"):
        Mark(reading="used", high=80, low=80)
