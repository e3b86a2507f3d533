"""Rows of models in memory: who is in, who uses it, who may be told to leave. Tells no engine anything."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

import psutil
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from governor.engines.protocol import Loaded
from governor.policy.facts import Held
from governor.presence import announce, judge
from governor.processes import Identity, Life, identify, life
from governor.settings import MIB
from governor.state.models import Ticket
from governor.state.residents import Keeping, Resident
from governor.state.sessions import reading, transaction

IN_MEMORY = ("loading", "resident", "unloading")
LIVE_TICKETS = ("asking", "seated")


def held(session: Session, *, now: datetime, memory: str | None = None) -> list[Held]:
    """Every model in memory (or in one of the memories), as the policy sees it."""
    wanted = select(Resident).where(Resident.state.in_(IN_MEMORY)).order_by(Resident.id)
    if memory is not None:
        wanted = wanted.where(Resident.memory == memory)
    pinned = set(session.scalars(select(Keeping.model).where(Keeping.pinned)))
    return [_as_held(session, row, now, row.model in pinned) for row in session.scalars(wanted).all()]


def in_use(session: Session, row: Resident) -> bool:
    """Claimed by a ticket that still sits at a desk, in a process not proven dead."""
    return row.claimed_by is not None and sits(session.get(Ticket, row.claimed_by))


def sits(ticket: Ticket | None) -> bool:
    """Whether it is at a desk, or on its way there, and its process is not proven dead."""
    if ticket is None or ticket.state not in LIVE_TICKETS:
        return False
    return ticket.identity is None or judge(ticket.identity) is not Life.DEAD


def is_own(session: Session, row: Resident) -> bool:
    """In use by this very process, at another desk."""
    ticket = session.get(Ticket, row.claimed_by) if row.claimed_by else None
    return ticket is not None and ticket.state in LIVE_TICKETS and ticket.identity == identify()


def process_is_gone(row: Resident) -> bool:
    """Whether the process that held it is proven dead, and with it the model."""
    return row.identity is not None and life(row.identity) is Life.DEAD


def claim_unload(row: Resident) -> None:
    """Make the row this process's to unload; inside the transaction that found it idle."""
    row.state, row.unloader = "unloading", asdict(announce())


def unloader_is_gone(row: Resident) -> bool:
    """Whether nobody sees to the unload any more."""
    return row.unloader is None or judge(Identity(**row.unloader)) is Life.DEAD


def as_loaded(row: Resident) -> Loaded:
    """The engine's view of a row."""
    return Loaded(row.address or "", row.api_key, row.identity, row.memory_mib, tuple(row.pids))


def close(row: Resident, reason: str, *, now: datetime) -> None:
    """It is not in memory any more; a row that was closed before keeps its reason."""
    with transaction() as session:
        gone = {"state": "gone", "reason": reason, "ended_at": now, "claimed_by": None, "stuck_at": None}
        session.execute(update(Resident).where(Resident.id == row.id, Resident.state != "gone").values(**gone))


def engines_in_memory() -> Sequence[Resident]:
    """Every row that may have a process, for `hotdesk down` and `status`."""
    with reading() as session:
        return session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY))).all()


def _as_held(session: Session, row: Resident, now: datetime, pinned: bool) -> Held:
    since = row.last_used_at or row.loaded_at or now
    return Held(
        resident_id=row.id,
        engine=row.engine,
        model=row.model,
        context_tokens=row.context_tokens,
        line=row.line,
        memory_mib=row.memory_mib or 0.0,
        idle_seconds=max(0.0, (now - since).total_seconds()),
        age_seconds=max(0.0, (now - (row.loaded_at or now)).total_seconds()),
        busy=row.state != "resident" or in_use(session, row),
        own=is_own(session, row),
        pinned=pinned,
        memory=row.memory,
        cache_type=row.cache_type,
        load_seconds=row.load_seconds or 0.0,
        stuck=row.stuck_at is not None,
        frees_mib=_frees_mib(row),
        settled=row.state == "resident",
    )


def _frees_mib(row: Resident) -> float | None:
    """What its end makes available of the host's memory: without the pages of its weights, which are so all along."""
    if row.memory != "ram" or not row.pids:
        return None
    try:
        held = [psutil.Process(pid).memory_info() for pid in row.pids]
    except (psutil.Error, OSError):
        return None
    return sum(max(0, one.rss - getattr(one, "shared", 0)) for one in held) / MIB
