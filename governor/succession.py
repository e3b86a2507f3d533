"""Who gets the desk when somebody stands up, dies, sleeps or overstays: the lease changes hands.

While anybody awake waits, the lease is offered to the next ticket and not released, so that the server
is not asked twice. An offer is accepted by compare-and-set; not accepted in 0.25 s it goes to the one
after it, and the sleeper keeps its place. The slot of a dead process is offered on in the same way, with
its lease. The last one out releases. Every function is one transaction of `governor.line`'s rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select

from governor.line import Line
from governor.policy.turns import CLAIM_SECONDS, GRACE_SECONDS, OFFER_SECONDS, RELEASING_SECONDS
from governor.processes import Identity
from governor.rows import (
    IN_LINE,
    LIVE,
    OVER,
    SLOT,
    TICKET,
    AnyRow,
    age_seconds,
    as_columns,
    change_slot,
    change_ticket,
    count_passed,
    identity_of,
    in_line,
    is_dead,
    read_slot,
    read_slots,
)
from governor.state.sessions import Store
from governor.ticket import Grant

# A request may take 10 s in each of its phases and be held up by a busy server (`governor.lease`): past this
# no release of the ticket's own is on its way. With the 20 s that a lease must have left it is less than its 60 s.
SETTLED_SECONDS = 30.0


@dataclass(frozen=True)
class Passed:
    """What became of a slot.

    Attributes:
        ring: tickets whose turn it may be.
        release: the lease that the caller must give back now, and the fence to finish that under.
            `lease_id` None: it died while it asked; look for a lease under `ticket_uuid`.
    """

    ring: tuple[int, ...] = ()
    release: "Release | None" = None


@dataclass(frozen=True)
class Release:
    """A slot in `releasing`: ours to give back.

    Attributes:
        again: somebody died while doing just that; its request may still be on its way.
        renewed_at: when the server last said that the lease lives.
    """

    index: int
    fence: int
    lease_id: str | None
    ticket_uuid: str | None
    again: bool
    renewed_at: datetime | None


@dataclass(frozen=True)
class Orphan:
    """A lease that the ended ticket of an agent left behind; the caller's to release."""

    lease_id: str
    ticket_id: int
    agent: str
    line: str


def hand_over(line: Line, ticket_id: int, grant: Grant, *, now: datetime, clock_s: float) -> Passed | None:
    """Stand up: offer the lease to the next one, or claim its release. None when the seat was not ours any more.

    A holder that is being revoked may still stand up by itself: that is the proof that it is done.
    """
    with line.store.change("hand_over") as db:
        slot = read_slot(db, line.name, grant.index)
        if slot is None or slot.ticket_id != ticket_id:
            return None
        if not (slot.state == "revoked" or (slot.state == "held" and slot.fence == grant.fence)):
            return None
        change_ticket(db, ticket_id, LIVE, state="done", ended_at=now)
        return _pass(db, line, slot, now, clock_s)


def accept(
    line: Line, ticket_id: int, index: int, *, budget_seconds: float, now: datetime, clock_s: float
) -> Grant | None:
    """Take the offered seat under a new fence; None when the offer went to somebody else."""
    with line.store.change("accept") as db:
        slot = read_slot(db, line.name, index)
        if slot is None or slot.state != "offered" or slot.ticket_id != ticket_id:
            return None
        return line.seat(
            db, slot, ticket_id, lease_id=slot.lease_id, budget_seconds=budget_seconds, now=now, clock_s=clock_s
        )


def pass_on(line: Line, index: int, *, now: datetime, clock_s: float) -> Passed:
    """An offer was not accepted in time, or its heir is dead: offer it to the next one awake."""
    with line.store.change("pass_on") as db:
        slot = read_slot(db, line.name, index)
        if slot is None or slot.state != "offered":
            return Passed()
        dead = is_dead(slot, line.judge)
        if not dead and age_seconds(slot, clock_s) <= OFFER_SECONDS:
            return Passed()
        count_passed(db, slot.passed, -1)
        if dead:
            _bury(db, slot.ticket_id, now)
        else:
            change_ticket(db, slot.ticket_id, ("offered",), state="waiting", asleep=True)
        return _pass(db, line, slot, now, clock_s)


def reap(line: Line, index: int, *, now: datetime, clock_s: float) -> Passed:
    """Take the slot of a process proven dead (or stopped in a release); whoever waits gets its lease.

    A slot whose dead process was asking or releasing has no lease to hand on: it is the caller's to release.
    """
    with line.store.change("reap") as db:
        slot = read_slot(db, line.name, index)
        if slot is None or slot.state in ("free", "retired", "offered"):
            return Passed()
        stuck = slot.state == "releasing" and age_seconds(slot, clock_s) > RELEASING_SECONDS
        if not stuck and not is_dead(slot, line.judge):
            return Passed()
        uuid = _bury(db, slot.ticket_id, now)
        if slot.state == "asking":
            count_passed(db, slot.passed, -1)
        if slot.state in ("held", "revoked") and slot.lease_id is not None:
            return _pass(db, line, slot, now, clock_s)
        return to_release(db, line, slot, uuid, clock_s)


def bury_waiters(line: Line, *, now: datetime) -> list[int]:
    """Close the tickets in line whose processes are dead; their ids. Nobody waits for them meanwhile."""
    with line.store.look() as db:
        if not any(row.state == "waiting" and is_dead(row, line.judge) for row in in_line(db, line.name)):
            return []
    with line.store.change("bury") as db:
        dead = [r.id for r in in_line(db, line.name) if r.state == "waiting" and is_dead(r, line.judge)]
        for ticket_id in dead:
            change_ticket(db, ticket_id, ("waiting",), state="reaped", reason="its process died in line", ended_at=now)
        return dead


def leave(line: Line, ticket_id: int, reason: str, *, now: datetime, clock_s: float) -> Passed | None:
    """Step out of the line with a reason; an offer goes on to the next. None for a ticket not in line."""
    with line.store.change("leave") as db:
        state = db.execute(select(TICKET.c.state).where(TICKET.c.id == ticket_id)).scalar()
        gone = {"state": "left", "reason": reason, "ended_at": now}
        if not change_ticket(db, ticket_id, ("waiting", "offered"), **gone):
            return None
        if state == "offered":
            slot = next(row for row in read_slots(db, line.name) if row.ticket_id == ticket_id)
            count_passed(db, slot.passed, -1)
            return _pass(db, line, slot, now, clock_s)
        return Passed(ring=tuple(line.ready(db, 2)))


def stir(line: Line, ticket_id: int) -> None:
    """A sleeper is awake again: offers may come to it, at the place it kept."""
    with line.store.change("stir") as db:
        change_ticket(db, ticket_id, IN_LINE, asleep=False)


def rouse(line: Line, ticket_id: int, index: int, *, now: datetime, clock_s: float) -> tuple[int, ...]:
    """A free slot is left alone by whom it is for: ring it once more, and a second later take it for asleep.

    Returns whom to ring. Whom a free slot was rung for stands in its `passed`.
    """
    with line.store.change("rouse") as db:
        slot = read_slot(db, line.name, index)
        if slot is None or slot.state != "free" or age_seconds(slot, clock_s) <= CLAIM_SECONDS:
            return ()
        chosen = line.choose(db, slot, now=now, clock_s=clock_s, trusted=ticket_id)
        if chosen is None or chosen.row.id == ticket_id or age_seconds(chosen.row, clock_s) <= CLAIM_SECONDS:
            return ()
        if slot.passed != [chosen.row.id]:  # rung once more first: a ring may have been lost
            change_slot(db, line.name, index, passed=[chosen.row.id], since_s=clock_s)
        else:
            change_ticket(db, chosen.row.id, ("waiting",), asleep=True)
            change_slot(db, line.name, index, passed=[], since_s=clock_s)
        return (chosen.row.id,)


def revoke(line: Line, index: int, *, clock_s: float) -> Identity | None:
    """A holder is past its budget: bump the fence, so that nothing it says counts; whom to send SIGTERM."""
    with line.store.change("revoke") as db:
        slot = read_slot(db, line.name, index)
        if slot is None or slot.state not in ("held", "asking") or age_seconds(slot, clock_s) <= slot.budget_seconds:
            return None
        change_slot(db, line.name, index, state="revoked", fence=slot.fence + 1, since_s=clock_s)
        return identity_of(slot)


def revoke_now(line: Line, index: int, ticket_id: int, *, clock_s: float) -> bool:
    """The seat of this ticket is void before its budget is over; whether it had one. Its owner stands up by itself."""
    with line.store.change("revoke_now") as db:
        slot = read_slot(db, line.name, index)
        if slot is None or slot.state not in ("held", "asking") or slot.ticket_id != ticket_id:
            return False
        change_slot(db, line.name, index, state="revoked", fence=slot.fence + 1, since_s=clock_s)
        return True


def overdue(line: Line, index: int, *, clock_s: float) -> Identity | None:
    """A revoked holder that outlived its grace: whom to send SIGKILL. Changes nothing."""
    with line.store.look() as db:
        slot = read_slot(db, line.name, index)
    if slot is None or slot.state != "revoked" or age_seconds(slot, clock_s) <= GRACE_SECONDS:
        return None
    return identity_of(slot)


def claim_orphans(store: Store, leases: Sequence[tuple[str, str]], *, now: datetime) -> list[Orphan]:
    """Claim the leases that ended tickets left behind: held by their uuid, in no slot's row. One a ticket, once.

    Two releases of one lease at once free two slots, so each is claimed by one process only, and a ticket
    that ended in life is left alone for a while: its own release may still be on its way.

    Args:
        store: the state database. leases: (lease id, holder's uuid) as the server has them.
        now: aware UTC.
    """
    if not leases:
        return []
    by_uuid = {uuid: lease_id for lease_id, uuid in leases}
    settled = or_(TICKET.c.state == "reaped", TICKET.c.ended_at < now - timedelta(seconds=SETTLED_SECONDS))
    ended = select(TICKET.c.id, TICKET.c.uuid, TICKET.c.agent, TICKET.c.line).where(
        TICKET.c.uuid.in_(by_uuid), TICKET.c.state.in_(OVER), settled, ~TICKET.c.lease_reclaimed
    )
    # One whose slot is being released is found by its releaser, under the ticket's uuid.
    ended = ended.where(TICKET.c.id.not_in(select(SLOT.c.ticket_id).where(SLOT.c.ticket_id.is_not(None))))
    with store.look() as db:
        if db.execute(ended).first() is None:
            return []
    with store.change("reclaim") as db:
        kept = set(db.scalars(select(SLOT.c.lease_id).where(SLOT.c.lease_id.is_not(None))))
        rows = [row for row in db.execute(ended) if by_uuid[row.uuid] not in kept]
        for row in rows:
            change_ticket(db, row.id, OVER, lease_reclaimed=True)
        return [Orphan(by_uuid[row.uuid], row.id, row.agent, row.line) for row in rows]


def _pass(db: Connection, line: Line, slot: AnyRow, now: datetime, clock_s: float) -> Passed:
    """Offer the slot with its lease to the next one awake; to nobody: it is the caller's to release."""
    wanted = slot.lease_id is not None and line.has(slot.number)
    chosen = line.choose(db, slot, now=now, clock_s=clock_s) if wanted else None
    if chosen is None:
        return to_release(db, line, slot, None, clock_s)
    owner = identity_of(chosen.row)
    assert owner is not None  # every ticket is taken by a process
    line.claim(db, slot, chosen.choice, "offered", owner, clock_s=clock_s)
    return Passed(ring=(chosen.row.id,))  # the one after it looks by itself within 0.25 s


def to_release(db: Connection, line: Line, slot: AnyRow, uuid: str | None, clock_s: float) -> Passed:
    """Make the slot this process's to give back. `uuid`: of a ticket whose lease stands in no row yet."""
    again = slot.state == "releasing"
    fence = slot.fence + again  # whoever released before and wakes finishes nothing any more
    mine = {"state": "releasing", "fence": fence, "since_s": clock_s, **as_columns(line.me())}
    if slot.state == "offered":  # its heir has gone, or waits again: no end of this slot ends that ticket
        mine["ticket_id"] = None
    change_slot(db, line.name, slot.number, **mine)
    return Passed(release=Release(slot.number, fence, slot.lease_id, uuid, again, slot.renewed_at))


def _bury(db: Connection, ticket_id: int | None, now: datetime) -> str | None:
    """Close the ticket of a dead process; its uuid."""
    if ticket_id is None:
        return None
    row = db.execute(select(TICKET.c.uuid, TICKET.c.state).where(TICKET.c.id == ticket_id)).first()
    if row is None:
        return None
    where = "at the desk" if row.state == "seated" else "in line"
    change_ticket(db, ticket_id, LIVE, state="reaped", reason=f"its process died {where}", ended_at=now)
    return row.uuid
