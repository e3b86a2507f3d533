"""What is left of an allowance and until when: days as the provider counts them, DST included, and words to trust."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governor.policy.allowance import (
    ON_ITS_WAY,
    Left,
    counted_from,
    left_of,
    share_left,
    shut,
    span_end,
    span_start,
)
from governor.policy.requests import Allowance, Span

PACIFIC, BEIRUT, SAO_PAULO, KATHMANDU = "America/Los_Angeles", "Asia/Beirut", "America/Sao_Paulo", "Asia/Kathmandu"
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def at(written: str) -> datetime:
    return datetime.fromisoformat(written).replace(tzinfo=UTC)


def left(used: int, amount: int, span: Span, *, unit: str = "requests", until: datetime = NOON) -> Left:
    return Left(allowance=Allowance(unit=unit, span=span, amount=amount), used=used, until=until)


@pytest.mark.parametrize(
    ("span", "zone", "now", "start", "end"),
    [
        (Span.DAY, "UTC", "2026-11-25T12:00", "2026-11-25T00:00", "2026-11-26T00:00"),
        (Span.DAY, "UTC", "2026-11-25T00:00", "2026-11-25T00:00", "2026-11-26T00:00"),
        (Span.DAY, PACIFIC, "2026-11-25T07:59", "2026-11-24T08:00", "2026-11-25T08:00"),
        (Span.DAY, PACIFIC, "2026-11-25T08:00", "2026-11-25T08:00", "2026-11-26T08:00"),
        # 8 March 2026 has 23 hours there, 1 November 25.
        (Span.DAY, PACIFIC, "2026-03-08T07:59", "2026-03-07T08:00", "2026-03-08T08:00"),
        (Span.DAY, PACIFIC, "2026-03-08T20:00", "2026-03-08T08:00", "2026-03-09T07:00"),
        (Span.DAY, PACIFIC, "2026-03-09T07:00", "2026-03-09T07:00", "2026-03-10T07:00"),
        (Span.DAY, PACIFIC, "2026-11-01T08:30", "2026-11-01T07:00", "2026-11-02T08:00"),
        (Span.DAY, PACIFIC, "2026-11-01T09:30", "2026-11-01T07:00", "2026-11-02T08:00"),  # the second 01:30
        (Span.DAY, PACIFIC, "2026-11-02T07:30", "2026-11-01T07:00", "2026-11-02T08:00"),
        # In Beirut 29 March 2026 begins at 01:00; in Sao Paulo 17 February 2018 had its last hour twice.
        (Span.DAY, BEIRUT, "2026-03-28T23:00", "2026-03-28T22:00", "2026-03-29T21:00"),
        (Span.DAY, SAO_PAULO, "2018-02-18T01:30", "2018-02-17T02:00", "2018-02-18T03:00"),
        (Span.DAY, SAO_PAULO, "2018-02-18T02:30", "2018-02-17T02:00", "2018-02-18T03:00"),
        (Span.DAY, KATHMANDU, "2026-11-25T18:20", "2026-11-25T18:15", "2026-11-26T18:15"),
        (Span.MONTH, "UTC", "2026-11-25T12:00", "2026-11-01T00:00", "2026-12-01T00:00"),
        (Span.MONTH, "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        (Span.MONTH, "UTC", "2026-01-31T12:00", "2026-01-01T00:00", "2026-02-01T00:00"),
        (Span.MONTH, "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        (Span.MONTH, PACIFIC, "2026-11-01T06:59", "2026-10-01T07:00", "2026-11-01T07:00"),
        (Span.MONTH, PACIFIC, "2026-11-15T12:00", "2026-11-01T07:00", "2026-12-01T08:00"),
        (Span.MINUTE, PACIFIC, "2026-11-25T12:00", "2026-11-25T11:59", "2026-11-25T12:01"),
        (Span.FIVE_HOURS, "UTC", "2026-11-25T12:00", "2026-11-25T07:00", "2026-11-25T17:00"),
        (Span.WEEK, "UTC", "2026-11-25T12:00", "2026-11-18T12:00", "2026-12-02T12:00"),
        (Span.DAY, "Mars/Olympus", "2026-11-25T12:00", "2026-11-24T12:00", "2026-11-26T12:00"),
        (Span.DAY, "../etc/passwd", "2026-11-25T12:00", "2026-11-24T12:00", "2026-11-26T12:00"),
        (Span.DAY, "", "2026-11-25T12:00", "2026-11-24T12:00", "2026-11-26T12:00"),
    ],
)
def test_a_span_begins_and_ends_where_the_provider_is(span: Span, zone: str, now: str, start: str, end: str):
    assert (span_start(span, zone, at(now)), span_end(span, zone, at(now))) == (at(start), at(end))


def test_days_follow_one_another_without_a_gap_through_a_year_of_leap_and_dst():
    moment = at("2028-01-01T08:00")
    for _ in range(366):
        end = span_end(Span.DAY, PACIFIC, moment)
        assert span_start(Span.DAY, PACIFIC, end) == end
        assert span_start(Span.DAY, PACIFIC, end - timedelta(microseconds=1)) == moment
        moment = end
    assert moment == at("2029-01-01T08:00")


def test_the_last_seconds_of_a_day_count_on_the_next_one_too():
    day = Allowance(unit="requests", span=Span.DAY, amount=10)
    assert counted_from(day, PACIFIC, at("2026-11-25T12:00")) == at("2026-11-25T08:00") - ON_ITS_WAY


def test_a_day_that_slides_is_counted_back_from_now():
    day = Allowance(unit="requests", span=Span.DAY, amount=10, slides=True)
    month = Allowance(unit="requests", span=Span.MONTH, amount=10, slides=True)
    assert counted_from(day, PACIFIC, NOON) == NOON - timedelta(hours=24)
    assert counted_from(month, "UTC", NOON) == NOON - timedelta(days=30)
    oldest = NOON - timedelta(hours=20)
    assert left_of(day, PACIFIC, used=10, oldest=oldest, now=NOON).until == NOON + timedelta(hours=4)
    assert left_of(day, PACIFIC, used=0, oldest=None, now=NOON).until == NOON


SPENT_DAY = {"used": 1000, "amount": 1000, "span": Span.DAY, "until": at("2026-11-26T00:00")}


@pytest.mark.parametrize(
    ("lefts", "tokens", "due", "why"),
    [
        ([], 10, False, None),
        ([left(0, 1, Span.DAY)], 10, False, None),
        ([left(**SPENT_DAY)], 10, True, "allowance spent until 00:00 UTC (1,000 of 1,000 requests a day)"),
        (
            [left(1000, 1000, Span.MONTH, until=at("2026-12-01T00:00"))],
            10,
            True,
            "allowance spent until 2026-12-01 00:00 UTC (1,000 of 1,000 requests a month)",
        ),
        (
            [left(30, 30, Span.MINUTE, until=NOON + timedelta(seconds=11.2))],
            10,
            True,
            "30 requests a minute are spent for 12 s",
        ),
        (
            [left(9, 8, Span.FIVE_HOURS, until=NOON + timedelta(hours=1))],
            10,
            True,
            "allowance spent until 13:00 UTC (9 of 8 requests in five hours)",
        ),
        (
            [left(7_500, 8_000, Span.MINUTE, unit="tokens", until=NOON + timedelta(seconds=30))],
            900,
            True,
            "about 900 tokens are needed, 500 of 8,000 tokens a minute are left for 30 s",
        ),
        (
            [left(0, 8_000, Span.MINUTE, unit="tokens")],
            9_000,
            True,
            "about 9,000 tokens are needed, more than the 8,000 tokens a minute that it ever gives",
        ),
        ([left(7_500, 8_000, Span.MINUTE, unit="tokens")], 500, True, None),
        (
            [left(8_000, 8_000, Span.MINUTE, unit="tokens", until=NOON)],
            0,
            True,
            "8,000 tokens a minute are spent for 1 s",
        ),
        ([left(799, 1000, Span.DAY)], 10, False, None),
        (
            [left(800, 1000, Span.DAY)],
            10,
            False,
            "keeps its last 20% for work with a due time (800 of 1,000 requests a day used)",
        ),
        ([left(800, 1000, Span.DAY)], 10, True, None),
        ([left(999, 1000, Span.HOUR)], 10, False, None),  # an hour comes back soon: nothing of it is kept
        (
            [left(4, 5, Span.WEEK)],
            10,
            False,
            "keeps its last 20% for work with a due time (4 of 5 requests a week used)",
        ),
        ([left(3, 4, Span.WEEK)], 10, False, None),  # too few to share
    ],
)
def test_a_refusal_says_what_is_spent_and_until_when(lefts: list[Left], tokens: int, due: bool, why: str | None):
    found = shut(lefts, tokens=tokens, due=due, now=NOON)
    assert (found and found.why) == why


def test_of_several_refusals_the_one_is_told_that_lasts_longest():
    minute = left(30, 30, Span.MINUTE, until=NOON + timedelta(seconds=5))
    found = shut([minute, left(**SPENT_DAY), minute], tokens=1, due=True, now=NOON)
    assert found is not None and found.until == at("2026-11-26T00:00")
    assert found.why.startswith("allowance spent until 00:00 UTC")


@pytest.mark.parametrize(
    ("lefts", "share"),
    [
        ([], 1.0),
        ([left(30, 30, Span.MINUTE), left(1, 1, Span.SECOND)], 1.0),
        ([left(30, 30, Span.MINUTE), left(250, 1000, Span.DAY), left(10, 100, Span.MONTH)], 0.75),
        ([left(1200, 1000, Span.DAY)], 0.0),
    ],
)
def test_the_share_left_is_that_of_the_scarcest_long_allowance(lefts: list[Left], share: float):
    assert share_left(lefts) == share


def test_nothing_is_left_below_zero():
    over: Any = left(1200, 1000, Span.DAY)
    assert (over.left, over.kept) == (0, 200)
