"""Which pauses close a line, for how long, and whom that makes leave it. Pure.

A person's pause and the governor's are independent of each other: a line is open when none is in force. Rows are
`governor.pause_rows`, writing and ending them is `governor.pauses`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

PERSON, GOVERNOR = "person", "governor"
WHO = {PERSON: "a person", GOVERNOR: "the governor"}


@dataclass(frozen=True, slots=True)
class Pause:
    """A line in which nobody sits down for a while. Times are aware UTC.

    Attributes:
        by: `person` or `governor`.
        until: when it ends by itself, None for a person's that lasts until `hotdesk resume`.
        evict: the line's models leave memory too, each as soon as nobody uses it.
    """

    line: str
    by: str
    since: datetime
    until: datetime | None
    reason: str
    evict: bool = False


def counting(pauses: Iterable[Pause], now: datetime) -> tuple[Pause, ...]:
    """Those in force, a person's before the governor's."""
    return tuple(sorted((p for p in pauses if p.until is None or p.until > now), key=lambda p: p.by != PERSON))


def opens_in_seconds(pauses: Iterable[Pause], now: datetime) -> float:
    """How long the line stays closed at least; infinite without an end, 0 where that is the governor's to say.

    The governor's pause has an end too, but it opens the line sooner when the pressure is gone, or later.
    """
    ends = (p.until for p in pauses if p.by == PERSON)
    return max((math.inf if end is None else (end - now).total_seconds() for end in ends), default=0.0)


def is_in_vain(opens_in_seconds: float, patience_left_seconds: float) -> bool:
    """Whether a waiter would be out of patience before the line opens."""
    return opens_in_seconds > patience_left_seconds


def in_words(pause: Pause, now: datetime) -> str:
    """The pause as a person reads it: since when, until when, whose and why."""
    person, end = pause.by == PERSON, pause.until
    until = f" until {clock(end, now)}" if person and end is not None else ""
    endless = ", with no end set" if person and end is None else ""
    times = f"since {clock(pause.since, now)}{until}"
    return f"the {pause.line} line is paused {times} by {WHO[pause.by]}{endless}: {pause.reason}"


def clock(at: datetime, now: datetime) -> str:
    """A time as people read it: without the date where that is today's, by UTC."""
    there = at.astimezone(UTC)
    return f"{there:%H:%M} UTC" if there.date() == now.astimezone(UTC).date() else f"{there:%Y-%m-%d %H:%M} UTC"
