"""A run that starts after its time: it runs once, for the latest time only, or skips. Never a backlog. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum

from governor.policy.facts import Fact


class Late(StrEnum):
    """What a run does that starts after its window."""

    RUN_ONCE = "run_once"
    SKIP = "skip"


class Times(Fact):
    """When a run was expected and began, and the latest time of the same agent that is due or past by then.

    Attributes:
        expected_at: None for a run that somebody started by hand. latest_at: None where the server does not say.
    """

    started_at: datetime
    expected_at: datetime | None = None
    latest_at: datetime | None = None


def missed(times: Times, policy: Late, *, window: timedelta) -> str:
    """Why this run must not do its work, '' when it may."""
    expected = times.expected_at
    if expected is None or times.started_at - expected <= window:
        return ""
    late = f"it was expected at {expected:%Y-%m-%d %H:%M} UTC and started {_words(times.started_at - expected)} late"
    if policy is Late.SKIP:
        return f"{late}, past its window of {_words(window)}"
    if times.latest_at is not None and times.latest_at > expected:
        return f"{late}; the run of {times.latest_at:%Y-%m-%d %H:%M} UTC stands for it"
    return ""


def _words(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
