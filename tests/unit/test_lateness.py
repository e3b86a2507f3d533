"""A run past its window: the latest time is done once, older ones and those that may not be late are left."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.lateness import Late, Times, missed

AT = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def why(late: timedelta, policy: Late, done: timedelta | None = None) -> str:
    done_at = None if done is None else AT + done
    return missed(Times(started_at=AT + late, expected_at=AT, done_at=done_at), policy, window=HOUR)


@pytest.mark.parametrize("policy", list(Late))
def test_within_its_window_a_run_does_its_work_whatever_was_done(policy: Late):
    assert why(HOUR, policy, done=HOUR / 2) == ""


def test_past_its_window_the_work_is_done_once():
    assert why(5 * HOUR, Late.RUN_ONCE) == ""


def test_who_finds_that_it_was_done_leaves_it():
    said = why(5 * HOUR, Late.RUN_ONCE, done=4 * HOUR)
    assert said == (
        "it was expected at 2026-11-25 07:00 UTC and started 5.0 h late;"
        " the run that began at 11:00 UTC did the work since"
    )


def test_who_may_not_be_late_skips_even_alone():
    assert why(61 * HOUR / 60, Late.SKIP).endswith("started 61 min late, past its window of 60 min")


def test_a_run_that_somebody_started_by_hand_is_never_late():
    assert missed(Times(started_at=AT), Late.SKIP, window=HOUR) == ""


@pytest.mark.parametrize("first", range(12))
def test_a_backlog_of_any_length_is_one_run_whichever_comes_first(first: int):
    expected = [AT + n * HOUR for n in range(12)]
    started = expected[-1] + 3 * HOUR
    done_at = None
    for at in (expected[first], *expected[:first], *expected[first + 1 :]):
        if not missed(Times(started_at=started, expected_at=at, done_at=done_at), Late.RUN_ONCE, window=HOUR):
            assert done_at is None
            done_at = started
    assert done_at is not None
