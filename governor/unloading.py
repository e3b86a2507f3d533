"""Take a model out of memory and see its memory come back: the row is claimed first, the driver has the last word.

An engine says `loaded` when its memory is back already and `unloaded` before it is (both measured). So an
unload is done when the engine is done with the model and what it took is measured to be free again.
"""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

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
from governor.state.residents import Keeping, Resident
from governor.state.sessions import reading, transaction

# A driver context and what the process keeps beside the model may stay until the process ends.
BACK_SHARE = 0.9
# 0.10 to 0.32 s were measured from the call to the memory; the rest is patience with a busy machine.
BACK_SECONDS = 5.0
BACK_PAUSE_SECONDS = 0.01
# What gave nothing back is asked again, but not at every look: each time may take as long as BACK_SECONDS.
STUCK_AGAIN = timedelta(seconds=60)


def unload_idle(resident_id: int, *, reason: str, unless_used_since: datetime | None = None) -> bool:
    """Evict one model unless somebody uses it; True once its memory is back. Claims the row first.

    Args:
        unless_used_since: nor when it was used after this, or is pinned; None: a person's word, which counts more.
    """
    with transaction() as session:
        row = session.get(Resident, resident_id)
        if row is None or row.state != "resident" or in_use(session, row):
            return False
        if unless_used_since is not None:
            kept = session.get(Keeping, row.model)
            if (row.last_used_at and row.last_used_at > unless_used_since) or (kept is not None and kept.pinned):
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
    try:
        back = engine(row.engine).unload(as_loaded(row), row.model) and _comes_back(row, where, free_then_mib)
    except BaseException:  # a signal: somebody else has to see to it
        _disown(row)
        raise
    seconds = time.monotonic() - started
    failpoint("memory.told")
    if back:
        _close_surely(row, reason)
        log_event("evicted", tier=row.line, seconds=seconds, model=row.model, mib=row.memory_mib, why=reason)
    else:
        _disown(row, stuck_at=datetime.now(UTC))
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


# Rows of this process whose model is gone while the database would not take that down.
_unclosed: dict[int, tuple[Resident, str]] = {}


def _close_surely(row: Resident, reason: str) -> None:
    """Close it; where the database is locked or full, remember it: its unloader lives, so nobody else would."""
    _unclosed[row.id] = (row, reason)
    close_late()


def close_late() -> None:
    """Close what could not be closed before.

    Raises:
        SQLAlchemyError: it still cannot; it stays remembered.
    """
    for row, reason in list(_unclosed.values()):
        close(row, reason, now=datetime.now(UTC))
        _unclosed.pop(row.id, None)


def unload_all(rows: Sequence[Resident], reason: str) -> None:
    """Unload what this process claimed; those that it does not come to are idle again."""
    for number, row in enumerate(rows):
        try:
            unload(row, reason)
        except BaseException:
            with transaction() as session:
                for other in rows[number + 1 :]:
                    left = session.get_one(Resident, other.id)
                    left.state, left.unloader = "resident", None
            raise


def sweep(*, now: datetime, ask_engines: bool = False, finish: bool = True) -> int:
    """Close the rows whose model is gone and finish what a dead process left half done; how many were closed.

    Args:
        ask_engines: also ask the servers that are not ours what they still have; they unload by rules of their own.
        finish: False to tell no engine anything.
    """
    close_late()
    closed = _close_ended(now) + (_close_unlisted(now) if ask_engines else 0)
    left = _claim_left_behind(now) if finish else []
    return closed + sum(unload(row, "left half done by a process that died") for row in left)


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
    """Rows of servers that list their model no more. A server that cannot be asked keeps its rows."""
    with reading() as session:
        idle = select(Resident).where(Resident.state == "resident", Resident.pid.is_(None))
        listed = {row.engine: engine(row.engine).residents() for row in session.scalars(idle)}
    closed = 0
    for name, running in listed.items():
        if running is not None:
            closed += _close_missing(name, {_plain(one.model) for one in running}, now)
    return closed


def _close_missing(engine_name: str, listed: set[str], now: datetime) -> int:
    with transaction() as session:
        wanted = select(Resident).where(
            Resident.engine == engine_name, Resident.state == "resident", Resident.pid.is_(None)
        )
        rows = [r for r in session.scalars(wanted) if _plain(r.model) not in listed and not in_use(session, r)]
        for row in rows:
            row.state, row.reason, row.ended_at = "gone", "its server took it out of memory", now
    return len(rows)


def _plain(model: str) -> str:
    """A tag as it is compared: Ollama lists what was asked for without one as `:latest`."""
    return model.removesuffix(":latest")


def _claim_left_behind(now: datetime) -> list[Resident]:
    """Loading for a ticket that is over, or being unloaded by nobody; claimed for this process.

    One of a server that goes by names is not asked again once the model is there anew: the name is another's.
    """
    with reading() as session:  # most looks find nothing, and need no lock for that
        rows = session.scalars(select(Resident).where(Resident.state.in_(("loading", "unloading")))).all()
        if not any(_is_left_behind(session, row, now) for row in rows):
            return []
    with transaction() as session:
        rows = session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY))).all()
        left = [row for row in rows if _is_left_behind(session, row, now)]
        named_anew = [row for row in left if any(_takes_the_name_of(other, row) for other in rows)]
        for row in named_anew:
            row.state, row.reason, row.ended_at, row.stuck_at = "gone", "its server loaded it anew", now, None
        for row in left:
            if row not in named_anew:
                claim_unload(row)
    return [row for row in left if row not in named_anew]


def _is_left_behind(session: Session, row: Resident, now: datetime) -> bool:
    if row.state == "loading":
        return not in_use(session, row)
    may_ask = row.stuck_at is None or now - row.stuck_at >= STUCK_AGAIN
    return row.state == "unloading" and unloader_is_gone(row) and may_ask


def _takes_the_name_of(other: Resident, row: Resident) -> bool:
    return row.pid is None and other.id > row.id and (other.engine, other.model) == (row.engine, row.model)


def _disown(row: Resident, stuck_at: datetime | None = None) -> None:
    """Nobody unloads it any more; stuck when its memory did not come back."""
    with transaction() as session:
        left = {"unloader": None, "stuck_at": stuck_at or row.stuck_at}
        session.execute(update(Resident).where(Resident.id == row.id, Resident.state == "unloading").values(**left))


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
    left_mib = where.held_mib(row.pids) if row.pids else None
    return None if left_mib is None else left_mib <= (1 - BACK_SHARE) * (row.memory_mib or 0.0)
