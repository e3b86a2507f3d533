"""Thousands of tickets through one line: does a hand-over get slower, does the database grow?

The line, its rows, the bells and the database file are real. Prefect's limit is a **fake** that answers at
once, so what is timed is ours alone; and all turns are made by one process, one after the other, with
some tickets queued at a time. Imports `governor.desk` and with it Prefect, but calls no server.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import func, select

from governor.limit import Renewed
from governor.rows import KEEP_TICKETS, PRUNE_EVERY, TICKET
from governor.settings import home
from governor.turn import Turn
from tests.benchmarks.ours import new_turn
from tests.benchmarks.report import rounded

# Old tickets go when one in so many is taken, so this many may stand at once, beside those in line.
MOST_ROWS = KEEP_TICKETS + PRUNE_EVERY
KIB = 1024


class InstantLimit:
    """A fake of Prefect's limit: every request is granted and every lease lives. Nothing is sent."""

    def prepare(self) -> None:
        """See Limit."""

    def check(self, slots: int) -> None:
        """See Limit."""

    def ask(self, ticket_uuid: str) -> str | None:
        """See Limit."""
        return str(uuid4())

    def renew(self, lease_id: str) -> Renewed:
        """See Limit."""
        return Renewed.ALIVE

    def release(self, lease_id: str) -> bool:
        """See Limit."""
        return True

    def find(self, ticket_uuid: str) -> str | None:
        """See Limit."""
        return None

    def leases(self) -> list[tuple[str, str]]:
        """See Limit."""
        return []


def pass_tickets_through(pipe: Connection, tickets: int, queued: int) -> None:
    """Pass `tickets` through the line of the state folder in use; says counts on the way, then the figures."""
    waiting: deque[Turn] = deque()
    take_seconds: list[float] = []
    hand_over_seconds: list[float] = []
    size_kib: dict[int, float] = {}
    seated: Turn | None = None
    for number in range(1, tickets + 1):
        turn = new_turn(InstantLimit(), f"benchmark/{number}")
        take_seconds.append(_seconds_of(turn.take))
        waiting.append(turn)
        if len(waiting) >= queued or number == tickets:
            seated = _hand_over(seated, waiting.popleft(), hand_over_seconds)
        if number in _marks(tickets):
            size_kib[number] = database_kib(home().database)
            pipe.send(number)
    while waiting:
        seated = _hand_over(seated, waiting.popleft(), hand_over_seconds)
    if seated is not None:
        seated.rise()
    pipe.send(_figures(tickets, take_seconds, hand_over_seconds, size_kib))


def database_kib(database: Path) -> float:
    """Size of the file with what SQLite keeps beside it (-wal, -shm)."""
    return sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*")) / KIB


def _hand_over(seated: Turn | None, heir: Turn, seconds: list[float]) -> Turn:
    """`seated` stands up and `heir` sits down; the first one of all asks for a free slot, which is not counted."""

    def change_seats() -> None:
        if seated is not None:
            seated.rise()
        heir.wait()

    spent = _seconds_of(change_seats)
    if seated is not None:
        seconds.append(spent)
    heir.start_renewing()
    return heir


def _marks(tickets: int) -> Sequence[int]:
    """When the file is measured: a tenth, a half, as soon as old tickets have begun to go, and the end."""
    return sorted({max(1, tickets // 10), max(1, tickets // 2), min(MOST_ROWS, tickets), tickets})


def _figures(
    tickets: int, take: Sequence[float], hand_over: Sequence[float], size_kib: dict[int, float]
) -> dict[str, Any]:
    window = max(1, min(1000, len(hand_over) // 10))
    first, last = (statistics.median(part) * 1000 for part in (hand_over[:window], hand_over[-window:]))
    first_take, last_take = (statistics.median(part) * 1000 for part in (take[:window], take[-window:]))
    line = new_turn(InstantLimit(), "benchmark/rows").line
    with line.store.look() as db:
        rows = db.execute(select(func.count()).select_from(TICKET)).scalar_one()
    return {
        "tickets": tickets,
        "window_hand_overs": window,
        "hand_over_first_median_ms": rounded(first, 3),
        "hand_over_last_median_ms": rounded(last, 3),
        "hand_over_last_over_first": rounded(last / first, 3),
        "take_first_median_ms": rounded(first_take, 3),
        "take_last_median_ms": rounded(last_take, 3),
        "take_max_ms": rounded(1000 * max(take), 1),
        "database_kib_after_tickets": {str(number): rounded(size) for number, size in size_kib.items()},
        "ticket_rows_at_end": rows,
        "ticket_rows_at_most": MOST_ROWS,
    }


def _seconds_of(act: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    act()
    return time.perf_counter() - began_s
