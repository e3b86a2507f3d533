"""Act of the rung `force-evict`: a model in use is ended. The fence is bumped first, so that nothing more said counts.

The agent at the desk is not killed: its call ends in a typed error (`SeatLost`), it stands up by itself, and it may
queue again, once, through the line and through admission. One that does not stand up within its grace is ended like
any holder past its budget (invariant 10). Only processes of engines are ended, and only through their engine.
"""

import logging
import time

from sqlalchemy import select

from governor import succession
from governor.actions.unload import Done, measured
from governor.errors import HotdeskError
from governor.events import log_event
from governor.failpoints import failpoint
from governor.line import Line
from governor.memory import memory
from governor.presence import announce, judge
from governor.resident_rows import claim_unload, sits
from governor.state.models import Slot, Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading, store, transaction
from governor.unloading import unload


def terminate(resident_id: int, reason: str) -> Done:
    """End one model in use: fence, row, engine, in this order. Idle meanwhile, it is left to `unload`."""
    with reading() as session:
        row = session.get(Resident, resident_id)
        ticket = session.get(Ticket, row.claimed_by) if row is not None and row.claimed_by else None
        if row is None or row.state != "resident" or ticket is None or not sits(ticket):
            return Done("nobody uses it any more", freed=False)
    who = f"{ticket.agent} with {row.model}"
    if not _revoke(ticket):
        return Done(f"{who} is standing up just now", freed=False)
    failpoint("governor.revoked")
    with transaction() as session:
        row = session.get_one(Resident, resident_id)
        if row.state != "resident" or row.claimed_by != ticket.id:
            return Done(f"{who} stood up by itself", freed=False)
        claim_unload(row)
    where = memory(row.memory)
    before = where.free_mib()
    log_event("terminated", level=logging.WARNING, ticket=ticket.id, holder=ticket.agent, tier=row.line, why=reason)
    try:
        freed = unload(row, reason)
    except HotdeskError as error:
        return Done(f"could not end {who}: {error.happened}; its seat is void", freed=False)
    words = f"ended {who}: its seat is void, it may queue again{measured(row.memory, before, where.free_mib())}"
    return Done(words if freed else f"{words}; its memory is not back yet", freed=freed)


def end_holders(line_name: str, reason: str) -> list[str]:
    """End whoever sits at a desk now, for a person who cannot wait; one sentence each."""
    with reading() as session:
        held = select(Slot).where(Slot.line == line_name, Slot.state.in_(("held", "asking")))
        tickets = [session.get_one(Ticket, slot.ticket_id) for slot in session.scalars(held) if slot.ticket_id]
        claimed = select(Resident).where(Resident.claimed_by.in_([t.id for t in tickets]), Resident.state == "resident")
        models = {row.claimed_by: row.id for row in session.scalars(claimed)}
    said = []
    for ticket in tickets:
        if ticket.id in models:
            said.append(terminate(models[ticket.id], reason).said)
        elif _revoke(ticket):
            said.append(f"the seat of {ticket.agent} is void; it stands up at its next step")
    return said


def _revoke(ticket: Ticket) -> bool:
    """Bump the fence of the slot that the ticket holds, unless that was done; False when it holds none any more."""
    with reading() as session:
        slot = session.scalars(select(Slot).where(Slot.line == ticket.line, Slot.ticket_id == ticket.id)).first()
    if slot is None or slot.state == "revoked":  # the latter by one who died over it, or for its budget
        return slot is not None
    line = Line(ticket.line, store(), judge, announce)
    return succession.revoke_now(line, slot.index, ticket.id, clock_s=time.monotonic())
