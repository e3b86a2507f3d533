"""Day and night by the clock on the wall, and a load that may go on or not: tables of cases."""

from datetime import UTC, datetime, time, timedelta

import pytest

from governor.policy.loading import Filling, foreseen_free_mib, must_stop
from governor.policy.watermarks import Hours

BERLIN = Hours(zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("at", "night"),
    [
        ("2026-11-24T21:59:59+00:00", False),
        ("2026-11-24T22:00:00+00:00", True),
        ("2026-11-25T05:59:59+00:00", True),
        ("2026-11-25T06:00:00+00:00", False),
        ("2026-07-01T20:59:59+00:00", False),  # summer time: 22:59 on the wall
        ("2026-07-01T21:00:00+00:00", True),
    ],
)
def test_it_is_night_by_the_clock_on_the_wall(at: str, night: bool):
    assert BERLIN.is_night(datetime.fromisoformat(at)) is night


@pytest.mark.parametrize(("day", "hours"), [(datetime(2026, 3, 28), 7), (datetime(2026, 10, 24), 9)])
def test_a_night_in_which_the_clock_jumps_is_shorter_or_longer(day: datetime, hours: int):
    noon = day.replace(hour=12, tzinfo=UTC)
    minutes = sum(BERLIN.is_night(noon + timedelta(minutes=m)) for m in range(24 * 60))
    assert minutes == hours * 60


def test_a_window_within_one_day_and_one_that_is_empty():
    midday = Hours(night_from=time(12, 0), night_until=time(13, 0))
    assert midday.is_night(datetime(2026, 1, 1, 12, 30, tzinfo=UTC))
    assert not midday.is_night(datetime(2026, 1, 1, 13, 0, tzinfo=UTC))
    never = Hours(night_from=time(7, 0), night_until=time(7, 0))
    assert not any(never.is_night(datetime(2026, 1, 1, hour, tzinfo=UTC)) for hour in range(24))


def test_times_that_come_with_an_offset_are_compared_with_the_wall_all_the_same():
    hours = Hours(night_from=time(23, 0, tzinfo=UTC), night_until=time(7, 0))
    assert hours.is_night(datetime(2026, 1, 1, 23, 30, tzinfo=UTC))
    assert not hours.is_night(datetime(2026, 1, 1, 22, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("seen", "foreseen"),
    [
        (
            Filling(free_mib=1000, ours_mib=500, expected_mib=600, need_mib=616, ours_rate=8000),
            900,
        ),  # it stops at what it needs
        (Filling(free_mib=1000, ours_mib=500, expected_mib=4000, need_mib=4150, ours_rate=2000), 500),
        (
            Filling(free_mib=1000, ours_mib=700, expected_mib=600, need_mib=616, ours_rate=2000),
            500,
        ),  # it takes more than it was given
        (Filling(free_mib=1000, ours_mib=500, expected_mib=600, need_mib=616, ours_rate=8000, others_rate=2000), 400),
        # what a first estimate is unsure of is not counted as still to come once it has what it was expected to take
        (Filling(free_mib=300, ours_mib=605, expected_mib=600, need_mib=750, ours_rate=2000), 300),
        (Filling(free_mib=1000, ours_mib=500, expected_mib=600, need_mib=616, ours_rate=-50, others_rate=-9000), 1000),
    ],
)
def test_what_will_be_free_in_a_moment(seen: Filling, foreseen: float):
    assert foreseen_free_mib(seen) == foreseen


def test_a_load_ends_below_the_floor_and_says_why():
    assert must_stop(Filling(free_mib=300, ours_mib=0, expected_mib=100, need_mib=100), floor_mib=200) is None
    why = must_stop(Filling(free_mib=150, ours_mib=0, expected_mib=100, need_mib=100), floor_mib=200)
    assert why is not None
    assert why.startswith("150 MiB are free")
