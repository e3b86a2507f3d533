"""Who sits down next: first come, first served, among the living.

Pure. Reading processes and changing rows is left to `governor.line`.
"""

from collections.abc import Sequence

from governor.policy.facts import Fact


class Waiter(Fact):
    """One ticket in line. `dead` only when that is proven; a process that cannot be read is not dead."""

    ticket_id: int
    dead: bool = False


def living(waiters: Sequence[Waiter]) -> list[Waiter]:
    """The line as it counts: by ticket id, without the dead."""
    return sorted((w for w in waiters if not w.dead), key=lambda w: w.ticket_id)


def place(waiters: Sequence[Waiter], ticket_id: int) -> int:
    """Place of a ticket, 1 for the head; 0 when it is not in line."""
    order = [w.ticket_id for w in living(waiters)]
    return order.index(ticket_id) + 1 if ticket_id in order else 0
