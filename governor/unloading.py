"""Take a model out of memory and see its memory come back: the row is claimed first, the driver has the last word.

An engine says `loaded` when its memory is back already and `unloaded` before it is (both measured). So an
unload is done when the engine is done with the model and what it took is measured to be free again.
"""

import logging
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from governor.engines import engine
from governor.events import log_event
from governor.failpoints import failpoint
from governor.memory import Memory, memory
from governor.processes import identify
from governor.resident_rows import (
    IN_MEMORY,
    as_loaded,
    claim_unload,
    close,
    in_use,
    process_is_gone,
    unloader_is_gone,
)
from governor.state.residents import Resident
from governor.state.sessions import reading, transaction

# A driver context and what the process keeps beside the model may stay until the process ends.
BACK_SHARE = 0.9
# 0.10 to 0.32 s were measured from the call to the memory; the rest is patience with a busy machine.
BACK_SECONDS = 5.0
BACK_PAUSE_SECONDS = 0.01
# What gave nothing back is asked again, but not at every look: each time may take as long as BACK_SECONDS.
STUCK_AGAIN = timedelta(seconds=60)


def unload_idle(resident_id: int, *, reason: str) -> bool:
    """Evict one model unless somebody uses it; True once its memory is back. Claims the row first."""
    with transaction() as session:
        row = session.get(Resident, resident_id)
        if row is None or row.state != "resident" or in_use(session, row):
            return False
        claim_unload(row)
    return unload(row, reason)


def unload(row: Resident, reason: str) -> bool:
    """Tell the engine about a row that this process claimed, wait for the memory; what keeps it is marked stuck."""
    failpoint("memory.leaving")
    started = time.monotonic()
    where = memory(row.memory)
    # Asked again later the whole tells nothing any more: others came and left. The next admission measures anew.
    free_then_mib = where.free_mib() if row.stuck_at is None else None
    back = engine(row.engine).unload(as_loaded(row), row.model) and _comes_back(row, where, free_then_mib)
    seconds = time.monotonic() - started
    failpoint("memory.told")
    if back:
        close(row, reason, now=datetime.now(UTC))
        log_event("evicted", tier=row.line, seconds=seconds, model=row.model, mib=row.memory_mib, why=reason)
    else:
        _mark_stuck(row)
        log_event(
            "gave_nothing_back",
            level=logging.WARNING,
            tier=row.line,
            seconds=seconds,
            model=row.model,
            mib=row.memory_mib,
            why=reason,
        )
    return back


def sweep(*, now: datetime, ask_engines: bool = False) -> int:
    """Close the rows whose model is gone and finish what a dead process left half done; how many were closed.

    Args:
        ask_engines: also ask the servers that are not ours what they still have; they unload by rules of their own.
    """
    closed = _close_ended(now) + (_close_unlisted(now) if ask_engines else 0)
    return closed + sum(unload(row, "left half done by a process that died") for row in _claim_left_behind(now))


def _close_ended(now: datetime) -> int:
    with reading() as session:
        rows = session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY))).all()
    ended = [row for row in rows if _has_ended(row, memory(row.memory))]
    for row in ended:
        close(row, "its memory came back late" if row.stuck_at else "its engine process was gone", now=now)
    return len(ended)


def _has_ended(row: Resident, where: Memory) -> bool:
    """Its process is dead and a card has its memory back (0.1 s later, measured), or what was stuck is back at last."""
    if not process_is_gone(row):
        return row.stuck_at is not None and bool(_gone_by_processes(row, where))
    this_boot = row.memory == "vram" and row.boot_id == identify().boot_id
    return not this_boot or _gone_by_processes(row, where) is not False


def _close_unlisted(now: datetime) -> int:
    """Rows of servers that do not list their model any more. A server that cannot be asked keeps its rows."""
    with reading() as session:
        rows = session.scalars(select(Resident).where(Resident.state == "resident", Resident.pid.is_(None))).all()
        rows = [row for row in rows if not in_use(session, row)]
    gone = [row for row in rows if engine(row.engine).alive(as_loaded(row), row.model) is False]
    asked = {row.engine: engine(row.engine).residents() for row in gone}
    gone = [row for row in gone if asked[row.engine] is not None]
    for row in gone:
        close(row, "its server took it out of memory", now=now)
    return len(gone)


def _claim_left_behind(now: datetime) -> list[Resident]:
    """Loading for a ticket that is over, or being unloaded by nobody; claimed for this process."""
    with transaction() as session:
        rows = session.scalars(select(Resident).where(Resident.state.in_(("loading", "unloading")))).all()
        left = [
            row
            for row in rows
            if (row.state == "loading" and not in_use(session, row))
            or (row.state == "unloading" and unloader_is_gone(row) and _may_ask_again(row, now))
        ]
        for row in left:
            claim_unload(row)
    return left


def _may_ask_again(row: Resident, now: datetime) -> bool:
    return row.stuck_at is None or now - row.stuck_at >= STUCK_AGAIN


def _mark_stuck(row: Resident) -> None:
    with transaction() as session:
        stuck = {"stuck_at": datetime.now(UTC), "unloader": None}
        session.execute(update(Resident).where(Resident.id == row.id).values(**stuck))


def _comes_back(row: Resident, where: Memory, free_then_mib: float | None) -> bool:
    deadline = time.monotonic() + BACK_SECONDS
    while not _is_back(row, where, free_then_mib):
        if time.monotonic() >= deadline:
            return False
        time.sleep(BACK_PAUSE_SECONDS)
    return True


def _is_back(row: Resident, where: Memory, free_then_mib: float | None) -> bool:
    """Whether at least 90% of what it took is free again: by its processes where they are known, else by the whole.

    The host's memory says nothing by the whole (pages of weights count as available all along): there, as where
    nobody can say what was free before, the engine's word stands.
    """
    if row.loaded_at is None:
        return True  # what it took before it was ever loaded nobody has measured
    gone = _gone_by_processes(row, where)
    if gone is not None:
        return gone
    free_mib = where.free_mib()
    if row.memory != "vram" or free_mib is None or free_then_mib is None:
        return True
    return free_mib >= free_then_mib + BACK_SHARE * (row.memory_mib or 0.0)


def _gone_by_processes(row: Resident, where: Memory) -> bool | None:
    """The same by its processes alone; None where they are not known or not told apart."""
    pids = row.pids or ([row.pid] if row.pid else [])
    left_mib = where.held_mib(pids) if pids else None
    return None if left_mib is None else left_mib <= (1 - BACK_SHARE) * (row.memory_mib or 0.0)
