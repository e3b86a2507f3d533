"""What of an allowance is left, when it begins anew, and why a call may not be made now. Pure.

What was used is counted by `governor.ledger`; what a provider's refusal means is `policy.provider_refusals`.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from governor.policy.facts import Fact
from governor.policy.requests import Allowance, Span

# Of a long allowance this much is kept for requests with a due time: what waits can wait for the next span.
HEADROOM = 0.2
SHORT = frozenset({Span.SECOND, Span.MINUTE})
KEEPS_HEADROOM = frozenset({Span.FIVE_HOURS, Span.DAY, Span.WEEK, Span.MONTH})
# A month that slides is 30 days: so says https://docs.cohere.com/docs/rate-limits.
LENGTHS = {
    Span.SECOND: timedelta(seconds=1),
    Span.MINUTE: timedelta(minutes=1),
    Span.HOUR: timedelta(hours=1),
    Span.FIVE_HOURS: timedelta(hours=5),
    Span.DAY: timedelta(days=1),
    Span.WEEK: timedelta(days=7),
    Span.MONTH: timedelta(days=30),
}
IN_WORDS = {Span.HOUR: "an hour", Span.FIVE_HOURS: "in five hours"}
# A call of the last seconds of a day may reach the provider on the next one, and counts on both: a process that
# never called before takes 4 s to its first word with the provider (measured: litellm's first call).
ON_ITS_WAY = timedelta(seconds=10)


class Left(Fact):
    """What is left of one allowance.

    Attributes:
        used: requests or tokens in the span that runs now; more than the amount where an answer took more than thought.
        until: when this span ends; of one that slides, when the oldest use leaves it (now, where there is none).
    """

    allowance: Allowance
    used: int
    until: datetime

    @property
    def left(self) -> int:
        """Requests or tokens that may still be used, never below 0."""
        return max(0, self.allowance.amount - self.used)

    @property
    def kept(self) -> int:
        """How much of the amount only requests with a due time may use."""
        kept = self.allowance.amount * HEADROOM if self.allowance.span in KEEPS_HEADROOM else 0
        return math.floor(kept + 1e-9)

    @property
    def in_words(self) -> str:
        """What the provider gives: `requests a day`."""
        span = self.allowance.span
        return f"{self.allowance.unit} {IN_WORDS.get(span, f'a {span.value}')}"


class Shut(Fact):
    """Why a call may not be made now, and when that may be over."""

    why: str
    until: datetime


def slides(allowance: Allowance, zone: str) -> bool:
    """Whether it is counted back from now. So is a day whose midnight nobody knows: that never gives too much."""
    return allowance.slides or allowance.span not in (Span.DAY, Span.MONTH) or _zone(zone) is None


def span_start(span: Span, zone: str, now: datetime) -> datetime:
    """When the span that runs at `now` began (UTC).

    Args:
        zone: name of the time zone in whose midnight days and months begin; unknown: they slide.
    """
    local = _zone(zone)
    if span not in (Span.DAY, Span.MONTH) or local is None:
        return now - LENGTHS[span]
    today = now.astimezone(local)
    return _midnight(today.year, today.month, today.day if span is Span.DAY else 1, local)


def span_end(span: Span, zone: str, now: datetime) -> datetime:
    """When the span that runs at `now` ends (UTC); of one that slides, when what is used now leaves it."""
    local = _zone(zone)
    if span not in (Span.DAY, Span.MONTH) or local is None:
        return now + LENGTHS[span]
    today = now.astimezone(local).date()
    if span is Span.DAY:
        after = today + timedelta(days=1)
        return _midnight(after.year, after.month, after.day, local)
    return _midnight(today.year + today.month // 12, today.month % 12 + 1, 1, local)


def counted_from(allowance: Allowance, zone: str, now: datetime) -> datetime:
    """What began after this counts in the span that runs at `now`."""
    if slides(allowance, zone):
        return now - LENGTHS[allowance.span]
    return span_start(allowance.span, zone, now) - ON_ITS_WAY


def left_of(allowance: Allowance, zone: str, *, used: int, oldest: datetime | None, now: datetime) -> Left:
    """What is left. `oldest`: when the first of what is used began, None when nothing is."""
    if not slides(allowance, zone):
        until = span_end(allowance.span, zone, now)
    else:
        until = now if oldest is None else oldest + LENGTHS[allowance.span]
    return Left(allowance=allowance, used=used, until=until)


def shut(lefts: Sequence[Left], *, tokens: int, due: bool, now: datetime) -> Shut | None:
    """Why a call may not be made, None when it may. Of several reasons, the one that lasts longest.

    Args:
        tokens: in and out together, as they are thought to be. due: whether the request has a due time.
    """
    found = [reason for left in lefts if (reason := _shut(left, tokens, due, now))]
    return max(found, key=lambda one: one.until, default=None)


def share_left(lefts: Sequence[Left]) -> float:
    """The smallest share that is left of an allowance of an hour or more; 1.0 when there is none."""
    return min((one.left / one.allowance.amount for one in lefts if one.allowance.span not in SHORT), default=1.0)


def clock(at: datetime, now: datetime) -> str:
    """A time as operators say it: the clock within a day, the date with it beyond. Always UTC."""
    utc = at.astimezone(UTC)
    within_a_day = utc - now <= timedelta(days=1)
    return f"{utc:%H:%M} UTC" if within_a_day else f"{utc:%Y-%m-%d %H:%M} UTC"


def _shut(one: Left, tokens: int, due: bool, now: datetime) -> Shut | None:
    amount = one.allowance.amount
    needed = 1 if one.allowance.unit == "requests" else max(1, tokens)
    if one.used + needed <= (amount if due else amount - one.kept):
        return None
    if needed > amount:
        why = f"about {needed:,} tokens are needed, more than the {amount:,} {one.in_words} that it ever gives"
    elif one.left == 0:
        why = _spent(one, now)
    elif needed > one.left:
        why = (
            f"about {needed:,} tokens are needed, {one.left:,} of {amount:,} {one.in_words} are left {_until(one, now)}"
        )
    else:
        why = f"keeps its last {HEADROOM:.0%} for work with a due time ({one.used:,} of {amount:,} {one.in_words} used)"
    return Shut(why=why, until=one.until)


def _spent(one: Left, now: datetime) -> str:
    amount = one.allowance.amount
    if one.allowance.span in SHORT:
        return f"{amount:,} {one.in_words} are spent {_until(one, now)}"
    return f"allowance spent {_until(one, now)} ({one.used:,} of {amount:,} {one.in_words})"


def _until(one: Left, now: datetime) -> str:
    if one.allowance.span in SHORT:
        return f"for {max(1, math.ceil((one.until - now).total_seconds()))} s"
    return f"until {clock(one.until, now)}"


def _midnight(year: int, month: int, day: int, zone: tzinfo) -> datetime:
    """A day that begins twice begins the first time; one whose midnight is skipped begins when the clock skips it."""
    return datetime(year, month, day, tzinfo=zone).astimezone(UTC)


def _zone(name: str) -> tzinfo | None:
    """The zone of that name, None when it is unknown here. UTC needs no file of zones."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None
