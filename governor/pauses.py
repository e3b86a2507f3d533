"""Close a line to everybody for a while, and open it again; Prefect's limit is never touched for it.

In a paused line nobody is given a seat: a free slot stays free, the lease of who stands up is released, an offer that
was not accepted yet is withdrawn, and an answer that comes too late is given back. Whoever sits keeps the seat.
Which pauses count is `policy.pausing`; that the line minds them is `governor.line`.
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from governor.effects import Effects, RealEffects
from governor.errors import NotReady
from governor.events import log_event
from governor.giving_back import settle
from governor.limit import Limit
from governor.line import Line
from governor.pause_rows import PAUSE, erase, in_force, in_force_at, write
from governor.policy.pausing import GOVERNOR, PERSON, Pause
from governor.presence import announce, judge
from governor.rows import AnyRow, change_ticket, count_passed, in_line, read_slots
from governor.settings import home
from governor.state.sessions import store
from governor.succession import Passed, to_release

OpenLimit = Callable[[], AbstractContextManager[Limit]]


def pause(
    lines: Iterable[str], *, by: str, reason: str, until: datetime | None, evict: bool = False, now: datetime
) -> None:
    """Pause lines; once it returns nobody sits down in them. Said again by the same, it replaces what was said.

    Args:
        lines: their names. by: `person` or `governor`. reason: in words, for whoever leaves because of it.
        until: when it ends by itself (aware UTC); None until `resume`, for a person only.
        evict: models of these lines also leave memory when a seat ends. now: aware UTC.

    Raises:
        StateUnavailable: it could not be written; that line, and those after it, are as they were.
    """
    effects = RealEffects(home().bells)
    for name in lines:
        asked = Pause(name, by, now, until, reason, evict)
        close_line(_line(name), effects, asked, lambda name=name: _limit(name))


def resume(lines: Iterable[str], *, by: str, now: datetime) -> list[str]:
    """End pauses: a person ends whoever's, the governor its own. The lines that are open because of it.

    Raises:
        StateUnavailable: it could not be written.
    """
    effects = RealEffects(home().bells)
    return [name for name in lines if open_line(_line(name), effects, by=by, now=now)]


def close_line(line: Line, effects: Effects, asked: Pause, limit: OpenLimit) -> None:
    """Write the pause, wake who has to know of it, and give back the leases that were on offer."""
    changes: list[Passed] = []

    def close() -> None:
        changes.extend(_close(line, asked, effects.clock_s()))
        if not any(change.release for change in changes):
            for change in changes:
                effects.ring(change.ring)
            return
        with limit() as opened:
            for change in changes:
                settle(line, opened, effects, change)

    try:
        effects.shielded(close)
    except NotReady as error:
        if not changes:
            raise
        # No server to give the lease to, or no database to say so: it ends by itself within 75 s.
        log_event("lease_left", tier=line.name, level=logging.WARNING, why=error.happened)


def open_line(line: Line, effects: Effects, *, by: str, now: datetime) -> bool:
    """End the pauses that `by` may end, and ring whose turn it is; whether that opened the line."""
    whose = (PERSON, GOVERNOR) if by == PERSON else (by,)
    with line.store.look() as db:  # the governor asks this at every look
        if not db.execute(PAUSE.select().where(PAUSE.c.line == line.name, PAUSE.c.by.in_(whose))).first():
            return False
    with line.store.change("resume") as db:
        before = in_force_at(db, line.name, now)
        erase(db, line.name, whose)
        opened = bool(before) and not in_force_at(db, line.name, now)
        ring = line.ready(db, 2) if opened else []
    effects.ring(ring)
    if opened:
        log_event("resumed", tier=line.name, by=by)
    return opened


def _close(line: Line, asked: Pause, clock_s: float) -> list[Passed]:
    """One transaction: the pause is in force and no offer is left. A pause that is prolonged keeps its beginning."""
    with line.store.change("pause") as db:
        earlier = next((p for p in in_force_at(db, line.name, asked.since) if p.by == asked.by), None)
        write(db, asked if earlier is None else replace(asked, since=earlier.since))
        offers = [_take_back(db, line, slot, clock_s) for slot in read_slots(db, line.name) if slot.state == "offered"]
        # Whom it makes leave has to look; the governor's makes nobody leave before its patience is over.
        waiting = tuple(row.id for row in in_line(db, line.name)) if asked.by == PERSON else ()
    if earlier is None or asked.by == PERSON:
        log_event("paused", tier=line.name, by=asked.by, why=asked.reason)
    return [Passed(ring=waiting), *offers]


def _take_back(db: Connection, line: Line, slot: AnyRow, clock_s: float) -> Passed:
    """Withdraw an offer: its heir waits again, awake, at its place; the lease is this process's to release."""
    count_passed(db, slot.passed, -1)
    change_ticket(db, slot.ticket_id, ("offered",), state="waiting", asleep=False)
    return to_release(db, line, slot, None, clock_s)


def _line(name: str) -> Line:
    return Line(name, store(), judge, announce)


def _limit(name: str) -> AbstractContextManager[Limit]:
    from governor.lease import PrefectLimit  # imports Prefect: a second that a pause seldom needs

    return PrefectLimit(name)


__all__ = ["Pause", "close_line", "in_force", "open_line", "pause", "resume"]
