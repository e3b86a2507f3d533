"""How a ticket comes by a lease: asked for, found again after a lost answer, or confirmed after a hand-over.

One that comes too late for a seat is declined: written down first, then given back by `governor.giving_back`.
"""

from datetime import datetime

from governor.effects import Effects
from governor.errors import ServerSilent
from governor.giving_back import TRY_AGAIN_SECONDS, reclaim
from governor.limit import Limit, Renewed
from governor.line import Line
from governor.rows import IN_LINE, change_slot, change_ticket, count_passed, read_slot
from governor.succession import Passed, to_release

# A busy server answers 503 for a moment and a restart takes 10 s; past a minute it is gone.
UNANSWERED_SECONDS = 60.0


def obtain(line: Line, limit: Limit, ticket_uuid: str, now: datetime) -> str | None:
    """A lease for this ticket, None when the limit is full.

    A refusal may be our own lost answer, or a lease that a dead ticket of ours left behind; both are
    looked for in the server's lease files.

    Raises:
        ServerSilent: no answer, and no lease of ours to be seen.
    """
    try:
        lease_id = limit.ask(ticket_uuid)
    except ServerSilent:
        if (found := limit.find(ticket_uuid)) is not None:
            return found
        raise
    if lease_id is not None:
        return lease_id
    found = limit.find(ticket_uuid)
    if found is not None and limit.renew(found) is Renewed.ALIVE:
        return found
    return limit.ask(ticket_uuid) if reclaim(line, limit, now) else None


def confirm(limit: Limit, effects: Effects, lease_id: str) -> Renewed:
    """What the server says of a lease that was handed over, through a silence of at most a minute.

    Raises:
        ServerSilent: it said nothing for a minute.
    """
    ends_s = effects.clock_s() + UNANSWERED_SECONDS
    while True:
        try:
            return limit.renew(lease_id)
        except ServerSilent:
            if effects.clock_s() >= ends_s:
                raise
            effects.pause(TRY_AGAIN_SECONDS)


def decline(line: Line, ticket_id: int, index: int, *, lease_id: str, asked_at: datetime, clock_s: float) -> Passed:
    """No seat came of the lease that was asked for: asking -> releasing, and the ticket waits on at its place.

    While the row says `asking` whoever reaps it looks for that lease, too, so it is not released before.

    Args:
        line: its rows. ticket_id: who asked. index: for which slot. lease_id: what was answered.
        asked_at: aware UTC; the lease lives since then at least. clock_s: of this boot.
    """
    with line.store.change("decline") as db:
        slot = read_slot(db, line.name, index)
        if slot is None or slot.ticket_id != ticket_id or slot.state not in ("asking", "revoked"):
            return Passed()  # who took the claim away gives the lease back
        count_passed(db, slot.passed, -1)
        change_ticket(db, ticket_id, IN_LINE, state="waiting")
        change_slot(db, line.name, index, ticket_id=None, lease_id=lease_id, renewed_at=asked_at)
        answered = read_slot(db, line.name, index)
        return Passed() if answered is None else to_release(db, line, answered, None, clock_s)
