"""How long a provider asks to wait, in every notation that headers and error texts use. Pure.

What the wait is for is `policy.provider_refusals`. A figure that is no time from now on says nothing: None.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

# Nobody means more; it also keeps absurd figures out of the arithmetic of dates.
MOST_SECONDS = 400 * 86_400.0
# A number this large is a moment, in seconds or in milliseconds since 1970, and no length of time.
EPOCH_SECONDS, EPOCH_MILLISECONDS = 1e9, 1e11
UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
PIECE = re.compile(
    r"(\d{1,15}(?:\.\d{1,15})?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])",
    re.IGNORECASE,
)
PLAIN = re.compile(r"\d{1,15}(?:\.\d{1,20})?")
ASKED = re.compile(r"(?:again|retry)\s+(?:in|after)\s+((?:\d[\d.]*\s*[a-z]+[\s,]*){1,5})", re.IGNORECASE)
# google.rpc.RetryInfo, also inside a quoted JSON text.
RETRY_DELAY = re.compile(r"retryDelay\W{1,8}(\d{1,15}(?:\.\d{1,15})?s)")
RESETS_AT = re.compile(r"reset at\W{1,3}(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)", re.IGNORECASE)
# RFC 9110, 5.6.7. `strptime` reads the names in the language of the machine.
HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def length_seconds(written: str) -> float | None:
    """Seconds of `12`, `0.5`, `7m12.5s`, `1h2m3s`, `820ms`, `2 minutes`."""
    written = written.strip()
    if PLAIN.fullmatch(written):
        return _sane(float(written))
    pieces = PIECE.findall(written)
    if not pieces or PIECE.sub("", written).strip(" ,."):
        return None
    return _sane(sum(float(number) * UNIT_SECONDS[_unit(unit)] for number, unit in pieces))


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """What `retry-after` asks for (names in lower case): a number of seconds, fractions too, or an HTTP date.

    A date is read by the provider's own clock where it says what that shows (`date`): ours may differ.
    """
    value = headers.get("retry-after", "").strip()
    at = http_date(value)
    if at is None:
        return length_seconds(value)
    return _sane((at - (http_date(headers.get("date", "")) or now)).total_seconds())


def asked_seconds(text: str) -> float | None:
    """What the text of an error asks for: `Please try again in 7m12s`, `retryDelay: 38s`."""
    delay = RETRY_DELAY.search(text)
    if delay is not None:
        return length_seconds(delay.group(1))
    asked = ASKED.search(text)
    if asked is None:
        return None
    pieces = PIECE.findall(asked.group(1))
    return _sane(sum(float(number) * UNIT_SECONDS[_unit(unit)] for number, unit in pieces)) if pieces else None


def reset_seconds(value: str, now: datetime) -> float | None:
    """What a reset header says: a length of time, or a moment in seconds or milliseconds since 1970."""
    value = value.strip()
    if not PLAIN.fullmatch(value) or float(value) < EPOCH_SECONDS:
        return length_seconds(value)
    moment = float(value) / (1000.0 if float(value) >= EPOCH_MILLISECONDS else 1.0)
    return _sane(moment - now.timestamp())


def named_reset_seconds(text: str, now: datetime) -> float | None:
    """What `Your limit will reset at 2026-09-03 05:35:16` says. Without a zone it is read as UTC."""
    named = RESETS_AT.search(text)
    if named is None:
        return None
    try:
        at = datetime.fromisoformat(f"{named.group(1)}T{named.group(2)}+00:00")
    except ValueError:
        return None
    return _sane((at - now).total_seconds())


def http_date(value: str) -> datetime | None:
    """The moment of an HTTP date, None when it is none."""
    found = HTTP_DATE.fullmatch(value.strip())
    if found is None or found.group(2) not in MONTHS:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        start = datetime(int(year), MONTHS.index(month) + 1, int(day), tzinfo=UTC)
    except ValueError:
        return None
    return start + timedelta(hours=int(hour), minutes=int(minute), seconds=int(second))


def _unit(name: str) -> str:
    name = name.lower()
    return "ms" if name.startswith(("ms", "milli")) else name[0]


def _sane(seconds: float) -> float | None:
    return min(seconds, MOST_SECONDS) if math.isfinite(seconds) and seconds > 0 else None
