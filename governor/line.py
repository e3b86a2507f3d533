"""The ticket line: take a ticket, whose turn, sit down, leave, reap.

Every change is one BEGIN IMMEDIATE transaction and a compare-and-set on what was read. Prefect's
limit only mirrors these rows (`governor.lease`); loading models is left to `governor.residency`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from governor.policy.ordering import Waiter, place
from governor.processes import Life, identify, life
from governor.state.models import Slot, Ticket
from governor.state.sessions import reading, transaction

IN_LINE = ("waiting", "asking")
LIVE = ("waiting", "asking", "seated")
IDLE_SLOT = ("free", "retired")


@dataclass(frozen=True)
class Errand:
    """What a ticket is taken for. `patience_seconds` counts from the moment it is taken."""

    line: str
    agent: str
    model: str
    patience_seconds: float
    due_at: datetime | None = None
    flow_run_id: str | None = None


@dataclass(frozen=True)
class View:
    """The line as one ticket sees it. `place` is 1 at the head, 0 when the ticket is not in line."""

    place: int
    holder: str | None
    free_slot: int | None
    dead_slots: tuple[int, ...]


@dataclass(frozen=True)
class Freed:
    """A slot taken from a dead process: its lease still has to be given back by who reaped it."""

    line: str
    index: int
    fence: int
    lease_id: str | None
    ticket_uuid: str | None
    ticket_id: int | None


def ensure_slots(line: str, count: int) -> None:
    """Make the slot rows of a line. Surplus rows are retired once free and never deleted: fences never fall."""
    with reading() as session:
        have = session.scalars(select(Slot).where(Slot.line == line)).all()
    if {slot.index for slot in have if slot.state != "retired"} == set(range(count)):
        return
    with transaction() as session:
        for index in range(count):
            slot = session.get(Slot, (line, index))
            if slot is None:
                session.add(Slot(line=line, index=index))
            elif slot.state == "retired":
                slot.state = "free"
        surplus = select(Slot).where(Slot.line == line, Slot.index >= count, Slot.state == "free")
        for slot in session.scalars(surplus):
            slot.state = "retired"


def take(errand: Errand, *, now: datetime) -> Ticket:
    """Join the end of the line as this process; one running flow may hold several tickets."""
    ticket = Ticket(
        uuid=str(uuid4()),
        line=errand.line,
        agent=errand.agent,
        model=errand.model,
        flow_run_id=errand.flow_run_id,
        due_at=errand.due_at,
        patience_seconds=errand.patience_seconds,
        taken_at=now,
    )
    ticket.identity = identify()
    with transaction() as session:
        session.add(ticket)
    return ticket


def look(ticket_id: int, line: str) -> View:
    """Where the ticket stands now. Changes nothing."""
    with reading() as session:
        tickets = session.scalars(select(Ticket).where(Ticket.line == line, Ticket.state.in_(IN_LINE))).all()
        slots = session.scalars(
            select(Slot).where(Slot.line == line, Slot.state != "retired").order_by(Slot.index)
        ).all()
        holder = next((_name(session, slot) for slot in slots if slot.state != "free"), None)
    free = next((slot.index for slot in slots if slot.state == "free"), None)
    dead = tuple(slot.index for slot in slots if slot.state != "free" and _dead(slot))
    waiters = [Waiter(ticket_id=t.id, dead=t.id != ticket_id and _dead(t)) for t in tickets if t.id <= ticket_id]
    return View(place(waiters, ticket_id), holder, free, dead)


def begin_asking(ticket_id: int, line: str, index: int) -> bool:
    """Claim a free slot before Prefect is asked, so that a lost answer is known to be ours."""
    with transaction() as session:
        slot = session.get(Slot, (line, index))
        ticket = session.get_one(Ticket, ticket_id)
        if slot is None or slot.state != "free" or ticket.state != "waiting":
            return False
        slot.state, slot.ticket_id, slot.lease_id = "asking", ticket_id, None
        slot.identity = identify()
        ticket.state = "asking"
        return True


def withdraw(ticket_id: int, line: str, index: int) -> None:
    """No seat came of the claim: give the slot back and stay in line at the same place."""
    with transaction() as session:
        slot = session.get_one(Slot, (line, index))
        if slot.ticket_id == ticket_id and slot.state in ("asking", "held"):
            _empty(slot)
        ticket = session.get_one(Ticket, ticket_id)
        if ticket.state in ("asking", "seated"):
            ticket.state = "waiting"


def grant(ticket_id: int, line: str, index: int, *, lease_id: str, budget_seconds: float, now: datetime) -> int:
    """Sit down: the slot is held under a new fence, which is returned; 0 when the claim was lost."""
    with transaction() as session:
        slot = session.get_one(Slot, (line, index))
        if slot.state != "asking" or slot.ticket_id != ticket_id:
            return 0
        slot.state, slot.lease_id, slot.fence = "held", lease_id, slot.fence + 1
        slot.granted_at, slot.budget_ends_at = now, now + timedelta(seconds=budget_seconds)
        ticket = session.get_one(Ticket, ticket_id)
        ticket.state, ticket.seated_at = "seated", now
        return slot.fence


def is_current(line: str, index: int, fence: int) -> bool:
    """Whether a seat under this fence still holds its slot."""
    with reading() as session:
        slot = session.get(Slot, (line, index))
        return slot is not None and slot.state == "held" and slot.fence == fence


def begin_release(line: str, index: int, fence: int) -> str | None:
    """Move held -> releasing; the lease id when this caller did it, else None. Only one caller can."""
    with transaction() as session:
        slot = session.get(Slot, (line, index))
        if slot is None or slot.state != "held" or slot.fence != fence:
            return None
        slot.state = "releasing"
        return slot.lease_id


def finish_release(line: str, index: int, fence: int, *, now: datetime) -> None:
    """The lease is back at Prefect: the slot is free, its ticket done."""
    with transaction() as session:
        slot = session.get_one(Slot, (line, index))
        if slot.state != "releasing" or slot.fence != fence:
            return
        ticket = session.get(Ticket, slot.ticket_id) if slot.ticket_id else None
        if ticket is not None and ticket.state in LIVE:
            ticket.state, ticket.ended_at = "done", now
        _empty(slot)


def leave(ticket_id: int, reason: str, *, now: datetime) -> None:
    """Step out of the line with a reason; a seated ticket is left alone."""
    with transaction() as session:
        session.execute(
            update(Ticket)
            .where(Ticket.id == ticket_id, Ticket.state == "waiting")
            .values(state="left", reason=reason, ended_at=now)
        )


def reap(line: str, *, now: datetime) -> list[Freed]:
    """Take slots and places from processes proven dead; the caller must give each lease back.

    The slot moves to `releasing` under the caller's identity, so a reaper that dies is reaped too.
    """
    freed = []
    with transaction() as session:
        for ticket in session.scalars(select(Ticket).where(Ticket.line == line, Ticket.state.in_(IN_LINE))):
            if _dead(ticket):
                ticket.state, ticket.reason, ticket.ended_at = "reaped", "its process died in line", now
        for slot in session.scalars(select(Slot).where(Slot.line == line, Slot.state.not_in(IDLE_SLOT))):
            if _dead(slot):
                freed.append(_free_dead(session, slot, now))
    return freed


def _free_dead(session: Session, slot: Slot, now: datetime) -> Freed:
    ticket = session.get(Ticket, slot.ticket_id) if slot.ticket_id else None
    if ticket is not None and ticket.state in LIVE:
        ticket.state, ticket.reason, ticket.ended_at = "reaped", "its process died at the desk", now
    slot.state, slot.identity = "releasing", identify()
    uuid = ticket.uuid if ticket else None
    return Freed(slot.line, slot.index, slot.fence, slot.lease_id, uuid, slot.ticket_id)


def _dead(row: Ticket | Slot) -> bool:
    return row.identity is not None and life(row.identity) is Life.DEAD


def _empty(slot: Slot) -> None:
    slot.state, slot.ticket_id, slot.lease_id, slot.identity = "free", None, None, None
    slot.granted_at = slot.budget_ends_at = None


def _name(session: Session, slot: Slot) -> str:
    ticket = session.get(Ticket, slot.ticket_id) if slot.ticket_id else None
    return f"{ticket.agent} (pid {slot.pid})" if ticket else f"pid {slot.pid}"
