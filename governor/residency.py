"""What is in memory, what may come in, who leaves: rows claimed first, engines told second.

The choice of who leaves is `policy.residency`; how an engine loads is `governor.engines`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from governor.engines import engine
from governor.engines.protocol import Loaded
from governor.errors import DoesNotFit, HotdeskError, ModelFailed
from governor.events import log_event
from governor.policy.facts import Held, ModelSpec
from governor.policy.residency import make_room
from governor.processes import Identity, Life, identify, life
from governor.profile import current_profile
from governor.state.models import Resident, Ticket
from governor.state.sessions import reading, recall, transaction

IN_MEMORY = ("loading", "resident", "unloading")
LIVE_TICKETS = ("asking", "seated")
# A client that died leaves its engine slot within 0.34 s when it streamed (measured); 0.5 s is the bound.
QUIET_WITHIN_SECONDS = 0.5
# Somebody else's eviction is waited for: SIGTERM takes 0.04 s, SIGKILL comes after 10 s, Ollama has 10 s.
ADMISSION_SECONDS = 30.0
ADMISSION_PAUSE_SECONDS = 0.25


@contextmanager
def resident(spec: ModelSpec, ticket_id: int) -> Iterator[Loaded]:
    """Hold `spec` in memory for a seated ticket: found again if it is there, else admitted and loaded.

    Raises:
        DoesNotFit: no room and nobody idle to evict. ModelFailed, NotReady, BadInput: from the engine.
    """
    row, loaded = _find(spec, ticket_id) or _admit(spec, ticket_id)
    try:
        yield loaded
    finally:
        _let_go(row, ticket_id)


def held(session: Session, *, now: datetime) -> list[Held]:
    """Every model in memory, as the policy sees it."""
    rows = session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY)).order_by(Resident.id)).all()
    return [_as_held(session, row, now) for row in rows]


def unload_idle(resident_id: int, *, reason: str) -> bool:
    """Evict one model unless somebody uses it; True once its memory is back. Claims the row first."""
    with transaction() as session:
        row = session.get(Resident, resident_id)
        if row is None or row.state != "resident" or _busy(session, row):
            return False
        _claim_unload(row)
    return _unload(row, reason)


def sweep(*, now: datetime) -> int:
    """Close the rows whose engine process is gone and finish what a dead process left half done."""
    with transaction() as session:
        rows = session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY))).all()
        stuck = [row for row in rows if not _gone(row) and _left_half_done(session, row)]
        closed = [row for row in rows if _gone(row) or (row in stuck and row.address is None)]
        for row in closed:
            row.state, row.ended_at, row.reason = "gone", now, "its engine process was gone"
        left = [row for row in stuck if row not in closed]
        for row in left:
            _claim_unload(row)
    return len(closed) + sum(_unload(row, "left half done by a process that died") for row in left)


def _left_half_done(session: Session, row: Resident) -> bool:
    """Loading for a ticket that is over, or being unloaded by a process that is dead."""
    if row.state == "unloading":
        return row.unloader is None or life(Identity(**row.unloader)) is Life.DEAD
    return row.state == "loading" and not _busy(session, row)


def _claim_unload(row: Resident) -> None:
    row.state, row.unloader = "unloading", asdict(identify())


def as_loaded(row: Resident) -> Loaded:
    """The engine's view of a row."""
    return Loaded(address=row.address or "", api_key=row.api_key, identity=row.identity, memory_mib=row.memory_mib)


def _find(spec: ModelSpec, ticket_id: int) -> tuple[Resident, Loaded] | None:
    """Claim the row of a resident that already serves `spec`; a dead or noisy one is ended instead."""
    with transaction() as session:
        wanted = select(Resident).where(
            Resident.state == "resident",
            Resident.engine == spec.engine,
            Resident.model == spec.model,
            Resident.context_tokens == spec.context_tokens,
            Resident.line == spec.line,
        )
        row = next((r for r in session.scalars(wanted) if not _busy(session, r)), None)
        if row is None:
            return None
        row.claimed_by = ticket_id
    loaded = as_loaded(row)
    if engine(spec.engine).alive(loaded, spec.model) and _quiet(spec, loaded):
        return row, loaded
    with transaction() as session:
        _claim_unload(session.get_one(Resident, row.id))
    _unload(row, "it did not answer, or was still busy with a request of somebody who is gone")
    return None


def _quiet(spec: ModelSpec, loaded: Loaded) -> bool:
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    while not engine(spec.engine).quiet(loaded, spec.model):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def _admit(spec: ModelSpec, ticket_id: int) -> tuple[Resident, Loaded]:
    """Make room, reserve the memory in the transaction that finds it, then load."""
    deadline = time.monotonic() + ADMISSION_SECONDS
    while time.monotonic() < deadline:
        row, leaving = _reserve(spec, ticket_id)
        if row is not None:
            return row, _load(spec, row)
        for victim in leaving:
            _unload(victim, f"to make room for {spec.model} at {spec.context_tokens} tokens")
        if not leaving:
            time.sleep(ADMISSION_PAUSE_SECONDS)
    raise _no_room(spec, "a model that leaves has not given its memory back")


def _reserve(spec: ModelSpec, ticket_id: int) -> tuple[Resident | None, Sequence[Resident]]:
    """A new `loading` row, or the rows claimed for eviction, or neither while others are still leaving."""
    now = datetime.now(UTC)
    sweep(now=now)
    with transaction() as session:
        inside = held(session, now=now)
        room = make_room(inside, need_mib=spec.expected_mib, budget_mib=memory_budget_mib())
        victims = [session.get_one(Resident, i) for i in room.evict]
        if not room.fits and not _anybody_leaves(session):
            raise _no_room(spec, room.reason)
        for victim in victims:
            _claim_unload(victim)
        if victims or not room.fits:
            return None, victims
        row = Resident(
            engine=spec.engine,
            model=spec.model,
            context_tokens=spec.context_tokens,
            line=spec.line,
            memory_mib=spec.expected_mib,
            claimed_by=ticket_id,
        )
        session.add(row)
    return row, ()


def _anybody_leaves(session: Session) -> bool:
    return session.scalars(select(Resident.id).where(Resident.state == "unloading").limit(1)).first() is not None


def memory_budget_mib() -> float:
    """What all models together may take: the profile's budget, or a smaller one set for this folder."""
    budget = current_profile().memory_budget_mib
    override = recall("memory_budget_mib")
    return min(budget, float(override)) if override else budget


def _load(spec: ModelSpec, row: Resident) -> Loaded:
    """Load; the engine's process is in the row before it may outlive this one."""
    started = time.monotonic()

    def record(loaded: Loaded) -> None:
        _record(row.id, loaded, spec, time.monotonic() - started)

    try:
        loaded = engine(spec.engine).load(spec, record=record)
    except BaseException as error:
        _close(row, f"load failed: {error.happened if isinstance(error, HotdeskError) else 'it was interrupted'}")
        raise
    seconds = time.monotonic() - started
    log_event("loaded", tier=spec.line, seconds=seconds, model=spec.model, context=spec.context_tokens)
    return loaded


def _record(row_id: int, loaded: Loaded, spec: ModelSpec, seconds: float) -> None:
    now = datetime.now(UTC)
    with transaction() as session:
        row = session.get_one(Resident, row_id)
        row.state, row.address, row.api_key, row.identity = (
            "resident",
            loaded.address,
            loaded.api_key,
            loaded.identity,
        )
        row.memory_mib = loaded.memory_mib or spec.expected_mib
        row.load_seconds, row.loaded_at, row.last_used_at = seconds, now, now


def _unload(row: Resident, reason: str) -> bool:
    """Tell the engine; the row is closed only when the memory is back."""
    started = time.monotonic()
    back = row.address is None or engine(row.engine).unload(as_loaded(row), row.model)
    if back:
        _close(row, reason)
    log_event("evicted", tier=row.line, seconds=time.monotonic() - started, model=row.model, back=back, why=reason)
    return back


def _close(row: Resident, reason: str) -> None:
    with transaction() as session:
        session.execute(
            update(Resident)
            .where(Resident.id == row.id)
            .values(state="gone", reason=reason, ended_at=datetime.now(UTC), claimed_by=None)
        )


def _let_go(row: Resident, ticket_id: int) -> None:
    with transaction() as session:
        session.execute(
            update(Resident)
            .where(Resident.id == row.id, Resident.claimed_by == ticket_id)
            .values(claimed_by=None, last_used_at=datetime.now(UTC))
        )


def _busy(session: Session, row: Resident) -> bool:
    """In use means claimed by a ticket that still sits at a desk, in a process not proven dead."""
    ticket = session.get(Ticket, row.claimed_by) if row.claimed_by else None
    if ticket is None or ticket.state not in LIVE_TICKETS:
        return False
    return ticket.identity is None or life(ticket.identity) is not Life.DEAD


def _gone(row: Resident) -> bool:
    return row.identity is not None and life(row.identity) is Life.DEAD


def _as_held(session: Session, row: Resident, now: datetime) -> Held:
    since = row.last_used_at or now
    return Held(
        resident_id=row.id,
        engine=row.engine,
        model=row.model,
        context_tokens=row.context_tokens,
        line=row.line,
        memory_mib=row.memory_mib or 0.0,
        idle_seconds=max(0.0, (now - since).total_seconds()),
        age_seconds=max(0.0, (now - (row.loaded_at or now)).total_seconds()),
        busy=row.state != "resident" or _busy(session, row),
    )


def _no_room(spec: ModelSpec, why: str) -> DoesNotFit:
    return DoesNotFit(
        f"{spec.model} at {spec.context_tokens} tokens ({spec.expected_mib:.0f} MiB) does not fit: {why}.",
        means="Nothing was loaded; the request takes another route or is skipped.",
        remedy="`hotdesk status` shows what is in memory.",
        refusals=[why],
    )


def engines_in_memory() -> list[Resident]:
    """Every row that may have a process, for `hotdesk down` and `status`."""
    with reading() as session:
        return list(session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY))))


__all__ = ["ModelFailed", "held", "memory_budget_mib", "resident", "sweep", "unload_idle"]
