"""The rows of tickets and slots as the line's transactions read and change them.

SQLAlchemy Core on the tables of `governor.state.models`: a hand-over is on the clock, and the ORM's unit
of work costs as much as everything else in it. Every function works inside the caller's transaction.
"""

import json
import math
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Table, TextClause, bindparam, case, or_, select, text, update

from governor.policy.ordering import Choice, OrderRules, Waiter, next_up
from governor.processes import Identity, Life
from governor.state.models import NO_BUDGET_SECONDS, Setting, Slot, Ticket

TICKET: Table = Ticket.__table__  # type: ignore[assignment]  # declared as FromClause
SLOT: Table = Slot.__table__  # type: ignore[assignment]
SETTING: Table = Setting.__table__  # type: ignore[assignment]
IN_LINE = ("waiting", "asking", "offered")
LIVE = (*IN_LINE, "seated")
OVER = ("done", "left", "reaped")
IDLE_SLOT = ("free", "retired")
# Tickets that ended stay for the record (median seat, status); older ones go, so the table stays bounded.
KEEP_TICKETS = 5_000
PRUNE_EVERY = 500
# A clock that was read before the wait for the lock (30 s at most) is behind rows that were written meanwhile.
LATE_CLOCK_SECONDS = 60.0
# A row of SQLAlchemy is a tuple, whose `index` is a method: the column is read as `number`.
SLOT_COLUMNS = [column.label("number") if column.name == "index" else column for column in SLOT.c]
NOBODY: dict[str, Any] = dict.fromkeys(("boot_id", "pid_namespace", "pid", "start_ticks"))

Judge = Callable[[Identity], Life]
AnyRow = Row[Any]


# Statements are built once: a built one keeps its cache key, which costs more than running it.
_IN_LINE = (
    select(
        TICKET.c.id,
        TICKET.c.state,
        TICKET.c.model,
        TICKET.c.due_at,
        TICKET.c.since_s,
        TICKET.c.work_seconds,
        TICKET.c.overtaken,
        TICKET.c.asleep,
        TICKET.c.boot_id,
        TICKET.c.pid_namespace,
        TICKET.c.pid,
        TICKET.c.start_ticks,
    )
    .where(TICKET.c.line == bindparam("line"), or_(*(TICKET.c.state == state for state in IN_LINE)))
    .order_by(TICKET.c.id)
)
_RULES = select(SETTING.c.value).where(SETTING.c.key == bindparam("key"))
_READ_SLOT = select(*SLOT_COLUMNS).where(SLOT.c.line == bindparam("this_line"), SLOT.c.index == bindparam("this_index"))
_READ_SLOTS = (
    select(*SLOT_COLUMNS, TICKET.c.agent.label("agent"))
    .outerjoin(TICKET, TICKET.c.id == SLOT.c.ticket_id)
    .where(SLOT.c.line == bindparam("line"), SLOT.c.state != "retired")
    .order_by(SLOT.c.index)
)
_MODEL = select(TICKET.c.model).where(TICKET.c.id == bindparam("id"))


def order_key(line: str) -> str:
    """Key of the setting that holds a line's order."""
    return f"order:{line}"


def in_line(db: Connection, line: str) -> Sequence[AnyRow]:
    """Every ticket that waits, asks or has an offer, by id."""
    return db.execute(_IN_LINE, {"line": line}).all()


def line_rules(db: Connection, line: str) -> OrderRules:
    """The order in force; plain FIFO where none was chosen, or where it cannot be read."""
    stored = db.execute(_RULES, {"key": order_key(line)}).scalar()
    try:
        return OrderRules.model_validate(json.loads(stored)) if stored else OrderRules()
    except (ValueError, ValidationError):
        return OrderRules()


def read_slot(db: Connection, line: str, index: int) -> AnyRow | None:
    """One slot as it stands."""
    return db.execute(_READ_SLOT, {"this_line": line, "this_index": index}).first()


def read_slots(db: Connection, line: str) -> Sequence[AnyRow]:
    """Every slot in use or free, with the agent at it as `agent`."""
    return db.execute(_READ_SLOTS, {"line": line}).all()


def model_of(db: Connection, ticket_id: int) -> str | None:
    """The model that a ticket was taken for."""
    return db.execute(_MODEL, {"id": ticket_id}).scalar()


def change_slot(db: Connection, line: str, index: int, **values: Any) -> None:
    """Write columns of one slot."""
    db.execute(_slot_update(tuple(values)), {"this_line": line, "this_index": index, **values})


def change_ticket(db: Connection, ticket_id: int, states: tuple[str, ...], **values: Any) -> bool:
    """Write columns of one ticket if it is in one of `states`; whether it was."""
    return db.execute(_ticket_update(tuple(values), states), {"this_id": ticket_id, **values}).rowcount == 1


@lru_cache(maxsize=64)
def _slot_update(columns: tuple[str, ...]) -> TextClause:
    return _update(SLOT, columns, 'line = :this_line AND "index" = :this_index')


@lru_cache(maxsize=64)
def _ticket_update(columns: tuple[str, ...], states: tuple[str, ...]) -> TextClause:
    allowed = ", ".join(f"'{state}'" for state in states)
    return _update(TICKET, columns, f"id = :this_id AND state IN ({allowed})")


def _update(table: Table, columns: tuple[str, ...], where: str) -> TextClause:
    """An UPDATE by hand; names are those of this module's callers, values are bound with the columns' types.

    A run makes each change once, in the middle of a hand-over, and compiling one that was built takes 1.7 ms.
    """
    values = ", ".join(f"{name} = :{name}" for name in columns)
    binds = [bindparam(name, type_=table.c[name].type) for name in columns]
    return text(f"UPDATE {table.name} SET {values} WHERE {where}").bindparams(*binds)


def empty_slot(db: Connection, slot: AnyRow, clock_s: float) -> None:
    """Nobody is at it any more. The fence stays."""
    nothing = {"ticket_id": None, "lease_id": None, "granted_at": None, "budget_ends_at": None, "renewed_at": None}
    since = {"state": "free", "since_s": clock_s, "budget_seconds": NO_BUDGET_SECONDS}
    change_slot(db, slot.line, slot.number, **since, passed=[], **nothing, **NOBODY)


def count_passed(db: Connection, ticket_ids: Sequence[int], by: int) -> None:
    """Count an overtaking of these tickets (`by` 1), or count it back (-1) because nothing came of it."""
    if ticket_ids:
        counted = case((TICKET.c.overtaken + by < 0, 0), else_=TICKET.c.overtaken + by)
        db.execute(update(TICKET).where(TICKET.c.id.in_(ticket_ids)).values(overtaken=counted))


def prune(db: Connection, newest: int) -> None:
    """Forget the oldest tickets that ended, of every line, but for `KEEP_TICKETS` of them."""
    at_slots = select(SLOT.c.ticket_id).where(SLOT.c.ticket_id.is_not(None))
    old = (TICKET.c.id <= newest - KEEP_TICKETS, TICKET.c.state.not_in(LIVE), TICKET.c.id.not_in(at_slots))
    db.execute(TICKET.delete().where(*old))


def pick(
    rows: Sequence[AnyRow],
    rules: OrderRules,
    judge: Judge,
    dead: set[int],
    *,
    last_model: str | None,
    now: datetime,
    clock_s: float,
    trusted: int | None = None,
) -> Choice | None:
    """Who is next among the living. Only those who matter are judged: a look at /proc for each of fifty takes 3 ms.

    Args:
        rows: the tickets in line. rules: the order in force. judge: of processes.
        dead: tickets known to be dead; those found dead here are added.
        last_model: model of the seat before.
        trusted: the caller's own ticket, which is alive and awake.
    """
    by_id = {row.id: row for row in rows}
    while True:
        waiters = waiter_facts(rows, dead, now=now, clock_s=clock_s, trusted=trusted)
        choice = next_up(waiters, rules, last_model=last_model)
        if choice is None:
            return None
        found = {i for i in (choice.ticket_id, *choice.passed) if i != trusted and is_dead(by_id[i], judge)}
        if not found:
            return choice
        dead |= found


def waiter_facts(
    rows: Sequence[AnyRow], dead: AbstractSet[int], *, now: datetime, clock_s: float, trusted: int | None = None
) -> list[Waiter]:
    """The line as the policy sees it."""
    return [
        Waiter(
            ticket_id=row.id,
            dead=row.id in dead,
            asleep=bool(row.asleep) and row.id != trusted,
            claiming=row.state != "waiting",
            model=row.model,
            age_seconds=age_seconds(row, clock_s),
            due_in_seconds=None if row.due_at is None else (row.due_at - now).total_seconds(),
            work_seconds=row.work_seconds,
            overtaken=row.overtaken,
        )
        for row in rows
    ]


def age_seconds(row: AnyRow, clock_s: float) -> float:
    """Since the row's last change of state.

    What was written after the caller read its clock, while it waited for the lock, is new; what was written before
    this boot is old beyond any bound.
    """
    ahead_seconds = row.since_s - clock_s
    return math.inf if ahead_seconds > LATE_CLOCK_SECONDS else max(0.0, -ahead_seconds)


def is_dead(row: AnyRow, judge: Judge) -> bool:
    """Whether the process of a row is proven dead. A row without one is nobody's, not dead."""
    owner = identity_of(row)
    return owner is not None and judge(owner) is Life.DEAD


def identity_of(row: AnyRow) -> Identity | None:
    """The process of a row, None where there is none."""
    if row.pid is None:
        return None
    return Identity(row.boot_id or "", row.pid_namespace or "", row.pid, row.start_ticks or 0)


def as_columns(owner: Identity) -> dict[str, Any]:
    """An identity as the columns that hold it."""
    return {
        "boot_id": owner.boot_id,
        "pid_namespace": owner.pid_namespace,
        "pid": owner.pid,
        "start_ticks": owner.start_ticks,
    }
