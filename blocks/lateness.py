"""A run that starts after its window: the work is done once, for the latest time, or not at all. Never a backlog. Pure.

Of several late runs of one agent the first that gets to run does the work; the others see that it was done. So it is
all one which of them Prefect lets through: with a limit of one it cancels those that come while the first is waiting.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from governor.policy.facts import Fact


class Late(StrEnum):
    """What a run does that starts after its window."""

    RUN_ONCE = "run_once"
    SKIP = "skip"


class Times(Fact):
    """When a run was expected and began.

    Attributes:
        expected_at: None for a run that somebody started by hand.
        done_at: when a run of the same agent began after `expected_at` that did its work; None: none did.
    """

    started_at: datetime
    expected_at: datetime | None = None
    done_at: datetime | None = None


def is_late(times: Times, window: timedelta) -> bool:
    """Whether the run started after its window."""
    return times.expected_at is not None and times.started_at - times.expected_at > window


def missed(times: Times, policy: Late, *, window: timedelta) -> str:
    """Why this run must not do its work, '' when it may."""
    if times.expected_at is None or not is_late(times, window):
        return ""
    expected = times.expected_at
    late = f"it was expected at {expected:%Y-%m-%d %H:%M} UTC and started {_words(times.started_at - expected)} late"
    if policy is Late.SKIP:
        return f"{late}, past its window of {_words(window)}"
    if times.done_at is not None:
        return f"{late}; the run that began at {times.done_at:%H:%M} UTC did the work since"
    return ""


def _words(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
