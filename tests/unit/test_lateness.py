"""A run past its window: the latest time is done once, older ones and those that may not be late are left."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.lateness import Late, Times, missed

AT = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def why(late: timedelta, policy: Late, latest: timedelta | None = None) -> str:
    latest_at = None if latest is None else AT + latest
    return missed(Times(started_at=AT + late, expected_at=AT, latest_at=latest_at), policy, window=HOUR)


@pytest.mark.parametrize("policy", list(Late))
def test_within_its_window_a_run_does_its_work_whatever_comes_after_it(policy: Late):
    assert why(HOUR, policy, latest=HOUR) == ""


def test_past_its_window_the_latest_time_is_done_once():
    assert why(5 * HOUR, Late.RUN_ONCE) == ""
    assert why(5 * HOUR, Late.RUN_ONCE, latest=timedelta(0)) == ""


def test_an_older_one_leaves_it_to_the_latest():
    said = why(5 * HOUR, Late.RUN_ONCE, latest=4 * HOUR)
    assert said == (
        "it was expected at 2026-11-25 07:00 UTC and started 5.0 h late; the run of 2026-11-25 11:00 UTC stands for it"
    )


def test_who_may_not_be_late_skips_even_alone():
    assert why(61 * HOUR / 60, Late.SKIP).endswith("started 61 min late, past its window of 60 min")


def test_a_run_that_somebody_started_by_hand_is_never_late():
    assert missed(Times(started_at=AT), Late.SKIP, window=HOUR) == ""


def test_a_backlog_of_any_length_is_one_run():
    """Of all that were missed exactly the latest does its work."""
    expected = [AT + n * HOUR for n in range(12)]
    started = expected[-1] + 3 * HOUR
    does = [
        at
        for at in expected
        if not missed(Times(started_at=started, expected_at=at, latest_at=expected[-1]), Late.RUN_ONCE, window=HOUR)
    ]
    assert does == expected[-1:]
