"""Which model is used next, as far as the schedule and the line can tell. Pure.

A use that is foretold is not certain: `policy.trust` says whether to believe it. What waits in line is certain.
`governor.residency` brings the uses: the runs that Prefect has scheduled and that have no ticket yet.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from governor.policy.facts import Use

# A run that is late by this much may still come: a worker with fifty runs to start took 60 s to the first
# line of a flow (measured), and the agent reads and fetches before it takes its ticket.
GRACE = timedelta(minutes=5)
# So far ahead a plan looks, in changes of the model: twice the day's seats would cost time and change nothing.
HORIZON = 64


def next_use(uses: Sequence[Use], model: str, now: datetime) -> datetime | None:
    """When `model` is used next; `now` for a use that is late by no more than the grace, None when none is foretold."""
    times = [use.at for use in uses if use.model == model and use.at >= now - GRACE]
    return max(now, min(times)) if times else None


def coming(uses: Sequence[Use], waiting: Sequence[str], now: datetime) -> tuple[str, ...]:
    """The models in the order in which they will be used, at most `HORIZON` changes of them.

    Args:
        uses: what the schedule foretells, in any order; without the runs that already have a ticket.
        waiting: the models of the tickets in line, head first: they come before anything foretold.
        now: uses further in the past than the grace are not expected any more.
    """
    foretold = sorted((use for use in uses if use.at >= now - GRACE), key=lambda use: use.at)
    return changes((*waiting, *(use.model for use in foretold)))


def changes(models: Sequence[str]) -> tuple[str, ...]:
    """The sequence without repetitions of the model before, since these cost nothing; at most `HORIZON` of them."""
    kept: list[str] = []
    for model in models:
        if len(kept) == HORIZON:
            break
        if not kept or kept[-1] != model:
            kept.append(model)
    return tuple(kept)
