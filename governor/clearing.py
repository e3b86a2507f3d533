"""Take the models of a paused line out of memory: idle ones at once, one in use when its seat ends.

For `hotdesk pause --evict`: whoever wants the card has it without waiting for a flow. How a model leaves, and that its
memory is back, is `governor.unloading`.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from governor.errors import HotdeskError
from governor.events import log_event
from governor.memory import memory
from governor.pause_rows import in_force
from governor.policy.pausing import PERSON, WHO, Pause
from governor.profile import current_profile
from governor.resident_rows import IN_MEMORY, in_use
from governor.state.residents import Resident
from governor.state.sessions import reading
from governor.unloading import unload_idle


def send_away(row: Resident, pause: Pause, *, now: datetime) -> bool:
    """Unload a model that nobody uses any more, pinned or not where a person says so; True once its memory is back.

    It never raises for what an engine says: a seat that ends has its answer already.
    """
    spared_if_pinned = None if pause.by == PERSON else now
    why = f"the {pause.line} line is paused by {WHO[pause.by]}"
    try:
        return unload_idle(row.id, reason=why, unless_used_since=spared_if_pinned)
    except HotdeskError as error:
        log_event("not_evicted", tier=row.line, level=logging.WARNING, model=row.model, why=error.happened)
        return False


def left_behind(now: datetime) -> list[tuple[Resident, Pause]]:
    """Idle models of lines whose pause wants them out: their user was killed before it could send them away."""
    with reading() as session:
        by_line = {pause.line: pause for pause in in_force(session, now) if pause.evict}
        wanted = select(Resident).where(Resident.state == "resident", Resident.line.in_(by_line))
        return [(row, by_line[row.line]) for row in session.scalars(wanted) if not in_use(session, row)]


def clear_lines(pauses: Sequence[Pause], *, now: datetime) -> list[str]:
    """Unload the idle models of these paused lines, one after the other; what left, what stays and what is free now."""
    by_line = {pause.line: pause for pause in pauses}
    with reading() as session:
        wanted = select(Resident).where(Resident.state.in_(IN_MEMORY), Resident.line.in_(by_line))
        rows = session.scalars(wanted.order_by(Resident.id)).all()
    said = [_said(row, send_away(row, by_line[row.line], now=now)) for row in rows]
    places = {row.memory for row in rows} | {s.memory for s in current_profile().tiers.values() if s.line in by_line}
    if not rows:
        said.append(f"No model of {' and '.join(sorted(by_line))} is in memory.")
    return [*said, *(free_now(name) for name in sorted(places))]


def free_now(memory_name: str) -> str:
    """How much of a memory is free, as measured."""
    mib = memory(memory_name).free_mib()
    free = "how much is free cannot be read" if mib is None else f"{mib:.0f} MiB are free now"
    return f"{memory_name}: {free}."


def _said(row: Resident, left: bool) -> str:
    name = f"{row.model} ({row.memory_mib or 0:.0f} MiB)"
    if left:
        return f"{name} left memory."
    with reading() as session:
        now_there = session.get(Resident, row.id)
        used = now_there is not None and in_use(session, now_there)
    if used:
        return f"{name} is in use; it leaves when its seat ends."
    if now_there is None or now_there.state == "gone":
        return f"{name} has left memory."
    if now_there.stuck_at is not None:
        return f"{name} was told to leave and gave nothing back yet; it is asked again every minute."
    return f"{name} is on its way out, or could not be told to leave: `hotdesk residents` shows it."
