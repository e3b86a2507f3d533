"""The ledger when the clock jumps: set back it gives nothing anew, and one that was ahead shuts nothing for long."""

from datetime import UTC, datetime, timedelta

import pytest

from governor import ledger
from governor.policy.requests import Span
from tests.unit.test_ledger import DUE, NOON, model, refusal, requests, used

pytestmark = pytest.mark.usefixtures("hotdesk_home")


def test_a_clock_that_is_set_back_does_not_open_an_allowance_anew():
    midnight = datetime(2026, 11, 26, tzinfo=UTC)
    day = model("openrouter/m", requests(Span.DAY, 2))
    minute = model("mistral/small", requests(Span.MINUTE, 2))
    for tier, back in ((day, timedelta(hours=1)), (minute, timedelta(seconds=50))):
        for _ in range(2):
            ledger.reserve(tier, DUE, now=midnight + timedelta(seconds=10))
        refusal(tier, now=midnight + timedelta(seconds=10) - back)
        assert used(tier, midnight + timedelta(seconds=10) - back) == [2]


@pytest.mark.parametrize("span", [Span.SECOND, Span.MINUTE, Span.HOUR, Span.FIVE_HOURS])
@pytest.mark.parametrize("minute", [0, 20, 59])
def test_a_clock_that_was_ahead_for_hours_shuts_no_short_allowance_for_hours(span: Span, minute: int):
    tier, now = model("mistral/small", requests(span, 1)), NOON + timedelta(minutes=minute, seconds=0.5)
    for hours in (6, 12, 23):
        ledger.reserve(tier, DUE, now=now + timedelta(hours=hours))
    [left] = ledger.lefts([tier], now)[tier.name]
    assert (left.used, left.until) == (0, now)
    ledger.reserve(tier, DUE, now=now)
    length = {Span.SECOND: 1, Span.MINUTE: 60, Span.HOUR: 3600, Span.FIVE_HOURS: 18_000}[span]
    assert refusal(tier, now=now).data["until"] == now + timedelta(seconds=length)


def test_the_rest_of_an_hour_that_a_clock_was_ahead_does_not_count_in_a_minute():
    tier = model("mistral/small", requests(Span.MINUTE, 1))
    ledger.reserve(tier, DUE, now=NOON + timedelta(minutes=40))
    ledger.reserve(tier, DUE, now=NOON + timedelta(seconds=30))


def test_a_clock_that_was_wrong_by_days_does_not_shut_a_tier_for_days():
    tier = model("mistral/small", requests(Span.MINUTE, 1))
    ledger.reserve(tier, DUE, now=NOON + timedelta(days=400))
    ledger.reserve(tier, DUE, now=NOON)
