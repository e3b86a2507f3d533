"""Whether a batch that sits at a desk gives it up between two of its requests. Pure.

A batch sits down once for all of its requests: each time in line costs a hand-over, and perhaps a swap of models. So
it stays while nobody is worse off: up to a bound in any case, past it while nobody who may sit next is due earlier,
past `HARD_MULTIPLE` bounds while nobody waits. Who is due earlier but sits later is not helped: the desk would go to
others first, and the batch would stand behind them all. Asking between two requests, and queueing again, is
`governor.serving`.
"""

from dataclasses import dataclass
from datetime import datetime

from governor.policy.ordering import Order

# What an agent may sit at a time where nobody says: the default of its parameter `max_seconds`.
BOUND_SECONDS = 120.0
# By default six minutes at a time. Four such batches ahead (24 minutes) still leave time within the default patience
# (30 minutes) of whoever has no due time; a smaller multiple would swap models more often for nobody's sake.
HARD_MULTIPLE = 3.0


@dataclass(frozen=True)
class Waiting:
    """Who waits in a line.

    Attributes:
        dues: when each is due, the head first; None: at no time, which is after everybody who has one.
        order: how the line is served.
    """

    dues: tuple[datetime | None, ...] = ()
    order: Order = Order.FIFO

    @property
    def next_dues(self) -> tuple[datetime | None, ...]:
        """Of those who may sit next: under `deadline` who is due earlier may pass, else the head is taken for it.

        Under `affinity` somebody of the model at the desk may pass it, a few times; that takes no swap.
        """
        return self.dues if self.order is Order.DEADLINE else self.dues[:1]


def gives_up(sat_seconds: float, bound_seconds: float, *, own_due_at: datetime | None, waiting: Waiting) -> str:
    """Why the batch gives the desk up now; '' when it stays.

    Args:
        sat_seconds: how long it has sat. bound_seconds: how long it may, while who may sit next is due earlier.
        own_due_at: when the first of what is left is due. waiting: everybody who waits in this line.
    """
    if sat_seconds < bound_seconds or not waiting.dues:
        return ""
    earlier = sum(due is not None and (own_due_at is None or due < own_due_at) for due in waiting.next_dues)
    if earlier:
        return f"{earlier} in line due earlier"
    if sat_seconds >= HARD_MULTIPLE * bound_seconds:
        return f"{len(waiting.dues)} in line, and {HARD_MULTIPLE:.0f} times its time is over"
    return ""
