"""The line as one ticket sees it: its place, its next step, whom it watches and what closes the line.

From rows that were read together; the rules are `policy.turns`, `policy.ordering` and `policy.pausing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from governor.policy.ordering import OrderRules, place
from governor.policy.pausing import Pause, in_words, opens_in_seconds
from governor.policy.turns import Act, Me, SlotFact, next_step
from governor.rows import IDLE_SLOT, AnyRow, Judge, age_seconds, identity_of, is_dead, pick, waiter_facts
from governor.ticket import View


@dataclass(frozen=True)
class Seen:
    """One line at one moment: who is in it, its slots, the order in force and the pauses in force."""

    tickets: Sequence[AnyRow]
    slots: Sequence[AnyRow]
    rules: OrderRules
    pauses: Sequence[Pause] = ()


def view_of(ticket_id: int, seen: Seen, judge: Judge, *, now: datetime, clock_s: float) -> View:
    """What the ticket makes of it. In a paused line nobody is next: who waits sees to the slots of others only."""
    tickets, slots, paused = seen.tickets, seen.slots, bool(seen.pauses)
    dead = {row.id for row in tickets if row.id < ticket_id and is_dead(row, judge)}
    last_model = next((row.last_model for row in slots if row.state == "free"), None)
    times = {"now": now, "clock_s": clock_s, "trusted": ticket_id}
    choice = None if paused else pick(tickets, seen.rules, judge, dead, last_model=last_model, **times)
    waiters = waiter_facts(tickets, dead, **times)
    me = Me(
        ticket_id,
        place(waiters, ticket_id),
        rank=place([w for w in waiters if not w.asleep], ticket_id),
        asleep=any(row.asleep for row in tickets if row.id == ticket_id),
        next_age_seconds=next((w.age_seconds for w in waiters if choice and w.ticket_id == choice.ticket_id), 0.0),
    )
    step = next_step(me, [_slot_fact(row, judge, clock_s) for row in slots], choice)
    busy = [row for row in slots if row.state != "free"]
    before = [row for row in tickets if row.id < ticket_id and row.id not in dead][-1:]
    near = (*busy, *before) if me.rank <= 2 else before  # each run that ends would wake the whole line
    watch = tuple(owner for row in near if (owner := identity_of(row)) is not None)
    return View(
        me.place,
        step,
        next((f"{row.agent} (pid {row.pid})" for row in busy), None),
        watch if step.act in (Act.WAIT, Act.KILL) else (),
        quiet=me.rank <= 2 and not paused and all(row.state == "held" for row in busy),
        paused=in_words(seen.pauses[0], now) if paused else "",
        opens_in_seconds=opens_in_seconds(seen.pauses, now),
    )


def _slot_fact(row: AnyRow, judge: Judge, clock_s: float) -> SlotFact:
    dead = row.state not in IDLE_SLOT and is_dead(row, judge)
    return SlotFact(row.number, row.state, row.ticket_id, dead, age_seconds(row, clock_s), row.budget_seconds)
