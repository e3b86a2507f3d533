"""Whether a batch that sits at a desk gives it up between two of its requests. Pure.

A batch sits down once for all of its requests: each time in line costs a hand-over, and perhaps a swap of models. So
it stays while nobody is worse off: up to a bound in any case, past it while nobody in the line is due earlier, past
`HARD_MULTIPLE` bounds while nobody waits. Asking between two requests, and queueing again, is `governor.serving`.
"""

from collections.abc import Iterable
from datetime import datetime

# What an agent may sit at a time where nobody says: the default of its parameter `max_seconds`.
BOUND_SECONDS = 120.0
# By default six minutes at a time. Four such batches ahead (24 minutes) still leave time within the default patience
# (30 minutes) of whoever has no due time; a smaller multiple would swap models more often for nobody's sake.
HARD_MULTIPLE = 3.0


def gives_up(
    sat_seconds: float, bound_seconds: float, *, own_due_at: datetime | None, waiting: Iterable[datetime | None]
) -> str:
    """Why the batch gives the desk up now; '' when it stays.

    Args:
        sat_seconds: how long it has sat. bound_seconds: how long it may, while others are due earlier.
        own_due_at: when the first of what is left is due. waiting: the same of everybody who waits in this line.
            Who has no due time is due after everybody who has one.
    """
    dues = list(waiting)
    if sat_seconds < bound_seconds or not dues:
        return ""
    earlier = sum(due is not None and (own_due_at is None or due < own_due_at) for due in dues)
    if earlier:
        return f"{earlier} in line due earlier"
    if sat_seconds >= HARD_MULTIPLE * bound_seconds:
        return f"{len(dues)} in line, and {HARD_MULTIPLE:.0f} times its time is over"
    return ""
