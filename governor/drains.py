"""Who waits for models in use to leave a memory: nobody younger sits down there meanwhile, or they never would.

One word for each memory, a ticket's id, in the settings; it counts while that ticket lives. Who sits at another
desk already is not kept waiting: its own model is among those that have to leave.
"""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from governor.processes import identify
from governor.resident_rows import LIVE_TICKETS, sits
from governor.state.models import Setting, Ticket
from governor.state.sessions import recall, transaction


def ask(session: Session, memory_name: str, ticket_id: int) -> None:
    """Say that this ticket waits; an older one that waits already goes first."""
    kept = session.get(Setting, _key(memory_name))
    asker = _asker(session, kept)
    if asker is None or ticket_id < asker:
        session.merge(Setting(key=_key(memory_name), value=str(ticket_id)))


def is_asked_for_by_another(session: Session, memory_name: str, ticket_id: int) -> bool:
    """Whether an older ticket of another process waits for this memory, and this one has no other desk."""
    asker = _asker(session, session.get(Setting, _key(memory_name)))
    if asker is None or asker >= ticket_id:
        return False
    me = identify()
    seated = select(Ticket).where(Ticket.state.in_(LIVE_TICKETS), Ticket.pid == me.pid, Ticket.id != ticket_id)
    return not any(ticket.identity == me for ticket in session.scalars(seated))


def give_up(memory_name: str, ticket_id: int) -> None:
    """This ticket waits no more."""
    if recall(_key(memory_name)) == str(ticket_id):
        with transaction() as session:
            mine = Setting.key == _key(memory_name), Setting.value == str(ticket_id)
            session.execute(delete(Setting).where(*mine))


def _asker(session: Session, kept: Setting | None) -> int | None:
    """The ticket that waits, None when nobody living does."""
    ticket = session.get(Ticket, int(kept.value)) if kept is not None and kept.value.isdigit() else None
    return ticket.id if ticket is not None and sits(ticket) else None


def _key(memory_name: str) -> str:
    return f"drains:{memory_name}"
