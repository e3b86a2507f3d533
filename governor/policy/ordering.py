"""Who sits down next. Strictly first come, first served among the living, unless a policy is chosen.

Two opt-in orders let a ticket pass: `affinity` (same model as the seat before, so no swap) and `deadline`
(earliest due first among those who would otherwise miss it and can still make it). Either is bounded: a
ticket is overtaken at most `overtakes_at_most` times in its life and never once it is older than
`never_after_seconds`. So with K = overtakes_at_most nobody at place p waits longer than
(p + K) x (longest seat budget + 15 s for its proof of death); K = 0 under `fifo`.

Pure. Reading processes and changing rows is left to `governor.line`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from governor.policy.facts import Fact


class Order(StrEnum):
    """How the line is served."""

    FIFO = "fifo"
    AFFINITY = "affinity"
    DEADLINE = "deadline"


class OrderRules(Fact):
    """The chosen order and its bounds. The defaults of the bounds: three overtakes cost about three seats."""

    order: Order = Order.FIFO
    overtakes_at_most: int = Field(default=3, ge=0, le=100)
    never_after_seconds: float = Field(default=600.0, ge=0)


@dataclass(frozen=True, slots=True)
class Waiter:
    """One ticket in line.

    Attributes:
        dead: only when that is proven; a process that cannot be read is not dead.
        asleep: it let an offer go by; it keeps its place and is passed over until it stirs.
        claiming: it is asking or has an offer at some slot, so it needs no other.
        due_in_seconds: until its due time, None without one. work_seconds: how long it expects to sit.
    """

    ticket_id: int
    dead: bool = False
    asleep: bool = False
    claiming: bool = False
    model: str = ""
    age_seconds: float = 0.0
    due_in_seconds: float | None = None
    work_seconds: float = 0.0
    overtaken: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is next, and whom that overtakes (ticket ids, by policy only; the asleep are not overtaken)."""

    ticket_id: int
    passed: tuple[int, ...] = ()


def living(waiters: Sequence[Waiter]) -> list[Waiter]:
    """The line as it counts: by ticket id, without the dead."""
    return sorted((w for w in waiters if not w.dead), key=lambda w: w.ticket_id)


def place(waiters: Sequence[Waiter], ticket_id: int) -> int:
    """Place of a ticket, 1 for the head; 0 when it is not in line."""
    order = [w.ticket_id for w in living(waiters)]
    return order.index(ticket_id) + 1 if ticket_id in order else 0


def next_up(waiters: Sequence[Waiter], rules: OrderRules, *, last_model: str | None = None) -> Choice | None:
    """Who is served next; None when nobody is ready to sit down."""
    ready = [w for w in living(waiters) if not (w.asleep or w.claiming)]
    for favourite in _favourites(ready, rules.order, last_model):
        passed = [w for w in ready if w.ticket_id < favourite.ticket_id]
        if all(_may_be_passed(w, rules) for w in passed):
            return Choice(favourite.ticket_id, tuple(w.ticket_id for w in passed))
    return Choice(ready[0].ticket_id) if ready else None


def _may_be_passed(waiter: Waiter, rules: OrderRules) -> bool:
    return waiter.overtaken < rules.overtakes_at_most and waiter.age_seconds <= rules.never_after_seconds


def _favourites(ready: Sequence[Waiter], order: Order, last_model: str | None) -> Sequence[Waiter]:
    """Those who would like to pass, best first."""
    match order:
        case Order.FIFO:
            return ()
        case Order.AFFINITY:
            return [w for w in ready if w.model == last_model][:1]
        case Order.DEADLINE:
            return sorted(_at_risk(ready), key=lambda w: (w.due_in_seconds, w.ticket_id))


def _at_risk(ready: Sequence[Waiter]) -> list[Waiter]:
    """Those who miss their due time in plain order, and would make it if they sat down now."""
    found, ahead_seconds = [], 0.0
    for waiter in ready:
        done_in = ahead_seconds + waiter.work_seconds
        if waiter.due_in_seconds is not None and waiter.work_seconds <= waiter.due_in_seconds < done_in:
            found.append(waiter)
        ahead_seconds = done_in
    return found
