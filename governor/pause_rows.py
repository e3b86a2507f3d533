"""Rows of pauses, read and written inside the caller's transaction, the line's own on a Core connection included.

Which of them count is `policy.pausing`; what else pausing takes is `governor.pauses`.
"""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Connection, Table, bindparam, delete, insert, select
from sqlalchemy.orm import Session

from governor.policy.pausing import Pause, counting
from governor.state import models

PAUSE: Table = models.Pause.__table__  # type: ignore[assignment]  # declared as FromClause

# Built once, as in `governor.rows`: every look and every hand-over reads the pauses of its line.
_EVERY = select(PAUSE.c.line, PAUSE.c.by, PAUSE.c.since, PAUSE.c.until, PAUSE.c.reason, PAUSE.c.evict)
_OF_LINE = _EVERY.where(PAUSE.c.line == bindparam("line"))
_IN_ORDER = _EVERY.order_by(PAUSE.c.line, PAUSE.c.by)


def in_force_at(db: Connection | Session, line: str, now: datetime) -> tuple[Pause, ...]:
    """The pauses that close one line now, a person's first; none: it is open."""
    rows = db.execute(_OF_LINE, {"line": line}).all()
    return counting((Pause(*row) for row in rows), now) if rows else ()


def in_force(db: Connection | Session, now: datetime) -> list[Pause]:
    """Every pause in force now, by line, a person's before the governor's."""
    found = counting((Pause(*row) for row in db.execute(_IN_ORDER).all()), now)
    return sorted(found, key=lambda pause: pause.line)


def evicting(db: Connection | Session, line: str, now: datetime) -> Pause | None:
    """The pause in force that also wants the line's models out of memory, None where none does."""
    return next((pause for pause in in_force_at(db, line, now) if pause.evict), None)


def write(db: Connection, pause: Pause) -> None:
    """Put a pause in the place of an earlier one of the same line by the same."""
    erase(db, pause.line, (pause.by,))
    db.execute(insert(PAUSE).values(**asdict(pause)))


def erase(db: Connection, line: str, by: tuple[str, ...]) -> None:
    """End the pauses of a line by these."""
    db.execute(delete(PAUSE).where(PAUSE.c.line == line, PAUSE.c.by.in_(by)))
