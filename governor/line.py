"""The ticket line: take a ticket, look, ask, sit down, renew, release.

Every change is one BEGIN IMMEDIATE transaction and a compare-and-set on what was read. Prefect's
limit only mirrors these rows (`governor.lease`). Handing the desk on (offer, accept, reap, revoke, leave)
is `governor.succession`; loading models is left to `governor.residency`.

Times on the wall (`now`, aware UTC) are for people and due times. What is decided by elapsed time runs
on `clock_s`, CLOCK_MONOTONIC of this boot: every process shares it and no change of the clock moves it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Update, select, update

from governor.pause_rows import in_force_at
from governor.policy.ordering import Choice
from governor.policy.politeness import Waiting
from governor.policy.turns import ASKING_SECONDS
from governor.processes import Identity
from governor.rows import (
    IN_LINE,
    LIVE,
    PRUNE_EVERY,
    SLOT,
    TICKET,
    AnyRow,
    Judge,
    as_columns,
    change_slot,
    change_ticket,
    count_passed,
    empty_slot,
    in_line,
    is_dead,
    line_rules,
    model_of,
    pick,
    prune,
    read_slot,
    read_slots,
)
from governor.state.sessions import Store
from governor.ticket import Errand, Grant, Place, View
from governor.viewing import Seen, view_of


@dataclass(frozen=True)
class Chosen:
    """Who is next at a slot, and the ticket's row."""

    choice: Choice
    row: AnyRow


class Line:
    """One line: its rows, and how the life of a process is judged.

    Args:
        name: of the line and of its limit at Prefect (`gpu`, `cpu`, `gpu:1`, ...).
        store: the state database.
        judge: whether a process is alive, dead or unknown.
        me: identity of the process that acts.
    """

    def __init__(self, name: str, store: Store, judge: Judge, me: Callable[[], Identity]) -> None:
        self.name, self.store, self.judge, self.me = name, store, judge, me
        self._slots: int | None = None

    def ensure_slots(self, count: int) -> None:
        """Make the slot rows. Surplus rows are retired once free and never deleted: fences never fall."""
        self._slots = count
        mine = select(SLOT.c.index.label("number"), SLOT.c.state).where(SLOT.c.line == self.name)
        with self.store.look() as db:
            have = {row.number for row in db.execute(mine) if row.state != "retired"}
        if have == set(range(count)):
            return
        with self.store.change("ensure") as db:
            known = {row.number: row.state for row in db.execute(mine)}
            for index in range(count):
                if index not in known:
                    db.execute(SLOT.insert().values(line=self.name, index=index))
                elif known[index] == "retired":
                    change_slot(db, self.name, index, state="free")
            surplus = update(SLOT).where(SLOT.c.line == self.name, SLOT.c.index >= count, SLOT.c.state == "free")
            db.execute(surplus.values(state="retired"))

    def take(self, errand: Errand, *, now: datetime, clock_s: float) -> Place:
        """Join the end of the line as this process; one running flow may hold several tickets."""
        uuid = str(uuid4())
        with self.store.change("take") as db:
            row = TICKET.insert().values(
                uuid=uuid,
                line=self.name,
                agent=errand.agent,
                model=errand.model,
                flow_run_id=errand.flow_run_id,
                due_at=errand.due_at,
                patience_seconds=errand.patience_seconds,
                work_seconds=errand.work_seconds,
                since_s=clock_s,
                taken_at=now,
                **as_columns(self.me()),
            )
            ticket_id = int((db.execute(row).inserted_primary_key or (0,))[0])
            if ticket_id % PRUNE_EVERY == 0:
                prune(db, ticket_id)
        return Place(ticket_id, uuid)

    def look(self, ticket_id: int, *, now: datetime, clock_s: float) -> View:
        """Where the ticket stands and what it should do. Changes nothing."""
        with self.store.look() as db:
            tickets = in_line(db, self.name)
            slots = [row for row in read_slots(db, self.name) if row.state != "free" or self.has(row.number)]
            seen = Seen(tickets, slots, line_rules(db, self.name), in_force_at(db, self.name, now))
        return view_of(ticket_id, seen, self.judge, now=now, clock_s=clock_s)

    def begin_asking(self, ticket_id: int, index: int, *, now: datetime, clock_s: float) -> bool:
        """Claim a free slot before Prefect is asked, so that a lost answer is known to be ours.

        False when the slot is not free or it is not this ticket's turn.
        """
        with self.store.change("ask") as db:
            slot = read_slot(db, self.name, index)
            if slot is None or slot.state != "free" or not self.has(index):
                return False
            chosen = self.choose(db, slot, now=now, clock_s=clock_s, trusted=ticket_id)
            if chosen is None or chosen.row.id != ticket_id:
                return False
            self.claim(db, slot, chosen.choice, "asking", self.me(), clock_s=clock_s)
            return True

    def grant(self, ticket_id: int, index: int, *, now: datetime, clock_s: float, **seat: Any) -> Grant | None:
        """Sit down with `lease_id` for `budget_seconds`, under a new fence.

        None when the claim was lost, or the line was paused while the question was under way.
        """
        with self.store.change("grant") as db:
            slot = read_slot(db, self.name, index)
            if slot is None or slot.state != "asking" or slot.ticket_id != ticket_id:
                return None
            if in_force_at(db, self.name, now):
                return None
            return self.seat(db, slot, ticket_id, now=now, clock_s=clock_s, renewed_at=now, **seat)

    def withdraw(self, ticket_id: int, index: int, *, clock_s: float) -> None:
        """No lease came of the claim: give the slot back and stay in line at the same place.

        An asker that was told to end for its slowness may still do this: it is done with the slot.
        """
        with self.store.change("withdraw") as db:
            slot = read_slot(db, self.name, index)
            if slot is None or slot.ticket_id != ticket_id or slot.state not in ("asking", "revoked"):
                return
            count_passed(db, slot.passed, -1)
            empty_slot(db, slot, clock_s)
            change_ticket(db, ticket_id, IN_LINE, state="waiting")

    def ask_again(self, ticket_id: int, grant: Grant, *, clock_s: float) -> bool:
        """The lease that was handed over is gone at the server: held -> asking, to get one of our own."""
        with self.store.change("ask_again") as db:
            slot = read_slot(db, self.name, grant.index)
            if slot is None or slot.state != "held" or slot.fence != grant.fence:
                return False
            asking = {"state": "asking", "lease_id": None, "since_s": clock_s, "budget_seconds": ASKING_SECONDS}
            change_slot(db, self.name, grant.index, **asking)
            change_ticket(db, ticket_id, ("seated",), state="asking", seated_at=None)
            return True

    def renewed(self, grant: Grant, lease_id: str, *, now: datetime) -> bool:
        """Note that the lease lives; False when this fence is no longer current."""
        with self.store.change("renew") as db:
            return db.execute(self._held(grant).values(renewed_at=now, lease_id=lease_id)).rowcount == 1

    def start_budget(self, grant: Grant, *, clock_s: float) -> None:
        """Count the seat's budget from now: what it waited for the card was not its own time."""
        with self.store.change("start_budget") as db:
            db.execute(self._held(grant).values(since_s=clock_s))

    def is_current(self, grant: Grant) -> bool:
        """Whether a seat under this fence still holds its slot."""
        with self.store.look() as db:
            slot = read_slot(db, self.name, grant.index)
        return slot is not None and slot.state == "held" and slot.fence == grant.fence

    def finish_release(self, index: int, fence: int, *, now: datetime, clock_s: float) -> list[int]:
        """The lease is back at Prefect: the slot is free. Returns the tickets to ring."""
        with self.store.change("release") as db:
            slot = read_slot(db, self.name, index)
            if slot is None or slot.state != "releasing" or slot.fence != fence:
                return []
            if slot.ticket_id is not None:
                change_ticket(db, slot.ticket_id, LIVE, state="done", ended_at=now)
            empty_slot(db, slot, clock_s)
            return self.ready(db, 2)

    def dues(self, now: datetime) -> Waiting:
        """When each of those who wait, awake and alive, is due; nobody waits in a paused line: none would sit down."""
        with self.store.look() as db:
            if in_force_at(db, self.name, now):
                return Waiting()
            dues = tuple(row.due_at for row in in_line(db, self.name) if self._is_ready(row))
            return Waiting(dues, line_rules(db, self.name).order)

    def slot_count(self) -> int:
        """How many slot rows there are, retired ones too."""
        with self.store.look() as db:
            return len(db.execute(select(SLOT.c.state).where(SLOT.c.line == self.name)).all())

    def has(self, index: int) -> bool:
        """Whether a slot belongs to the line as the profile has it; one that it took away is not handed on."""
        return self._slots is None or index < self._slots

    def first(self, count: int) -> list[int]:
        """The first tickets that are ready to sit down."""
        with self.store.look() as db:
            return self.ready(db, count)

    def ready(self, db: Connection, count: int) -> list[int]:
        """The first tickets that wait, awake and alive."""
        return [row.id for row in islice(filter(self._is_ready, in_line(db, self.name)), count)]

    def _is_ready(self, row: AnyRow) -> bool:
        return row.state == "waiting" and not row.asleep and not is_dead(row, self.judge)

    def choose(
        self, db: Connection, slot: AnyRow, *, now: datetime, clock_s: float, trusted: int | None = None
    ) -> Chosen | None:
        """Who is next at this slot, by the order in force, read in this transaction; nobody in a paused line."""
        if in_force_at(db, self.name, now):
            return None
        rows = in_line(db, self.name)
        times = {"now": now, "clock_s": clock_s, "trusted": trusted}
        choice = pick(rows, line_rules(db, self.name), self.judge, set(), last_model=slot.last_model, **times)
        if choice is None:
            return None
        return Chosen(choice, next(row for row in rows if row.id == choice.ticket_id))

    def claim(
        self, db: Connection, slot: AnyRow, choice: Choice, state: str, owner: Identity, *, clock_s: float
    ) -> None:
        """Put the chosen ticket at the slot as `asking` or `offered`; whom it passes is counted now."""
        count_passed(db, choice.passed, 1)
        change_slot(
            db,
            self.name,
            slot.number,
            state=state,
            ticket_id=choice.ticket_id,
            passed=list(choice.passed),
            since_s=clock_s,
            budget_seconds=ASKING_SECONDS,
            **as_columns(owner),
        )
        change_ticket(db, choice.ticket_id, ("waiting",), state=state)

    def seat(
        self, db: Connection, slot: AnyRow, ticket_id: int, *, now: datetime, clock_s: float, **seat: Any
    ) -> Grant:
        """Make this process the holder of the slot under the next fence.

        seat: `lease_id`, `budget_seconds` and, where the server said so just now, `renewed_at`.
        """
        change_slot(
            db,
            self.name,
            slot.number,
            state="held",
            fence=slot.fence + 1,
            ticket_id=ticket_id,
            since_s=clock_s,
            granted_at=now,
            budget_ends_at=now + timedelta(seconds=seat["budget_seconds"]),
            passed=[],
            last_model=model_of(db, ticket_id),
            **seat,
            **as_columns(self.me()),
        )
        change_ticket(db, ticket_id, IN_LINE, state="seated", seated_at=now, asleep=False)
        return Grant(slot.number, slot.fence + 1, seat["lease_id"])

    def _held(self, grant: Grant) -> Update:
        mine = (SLOT.c.line == self.name, SLOT.c.index == grant.index)
        return update(SLOT).where(*mine, SLOT.c.state == "held", SLOT.c.fence == grant.fence)


__all__ = ["Errand", "Grant", "Line", "Place", "View"]
