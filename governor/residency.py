"""What is in memory, what may come in, who leaves: rows claimed first, engines told second.

The choice of who leaves is `policy.residency`; how an engine loads is `governor.engines`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from governor.engines import engine
from governor.engines.protocol import Loaded
from governor.errors import DoesNotFit, HotdeskError, ModelFailed
from governor.events import log_event
from governor.policy.facts import Held, ModelSpec
from governor.policy.residency import make_room
from governor.processes import Life, life
from governor.profile import current_profile
from governor.state.models import Resident, Ticket
from governor.state.sessions import reading, recall, transaction

IN_MEMORY = ("loading", "resident", "unloading")
LIVE_TICKETS = ("asking", "seated")
# A client that died leaves its engine slot within 0.34 s when it streamed (measured); 0.5 s is the bound.
QUIET_WITHIN_SECONDS = 0.5
# One eviction each time round: more rounds than residents could ever be there means a loop.
ADMISSION_ROUNDS = 8


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
        row.state = "unloading"
    return _unload(row, reason)


def sweep(*, now: datetime) -> int:
    """Close the rows whose engine process is gone and finish what a dead process left half done."""
    with transaction() as session:
        rows = session.scalars(select(Resident).where(Resident.state.in_(IN_MEMORY))).all()
        stuck = [row for row in rows if row.state != "resident" and not _busy(session, row) and not _gone(row)]
        closed = [row for row in rows if _gone(row) or (row.address is None and row in stuck)]
        for row in closed:
            row.state, row.ended_at, row.reason = "gone", now, "its engine process was gone"
    left = [row for row in stuck if row not in closed]
    return len(closed) + sum(_unload(row, "left half unloaded by a process that died") for row in left)


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
    for _ in range(ADMISSION_ROUNDS):
        row, leaving = _reserve(spec, ticket_id)
        if row is not None:
            return row, _load(spec, row)
        for victim in leaving:
            _unload(victim, f"to make room for {spec.model} at {spec.context_tokens} tokens")
    raise _no_room(spec, "the models in memory are all in use")


def _reserve(spec: ModelSpec, ticket_id: int) -> tuple[Resident | None, Sequence[Resident]]:
    """Either a new `loading` row, or the rows claimed for eviction."""
    now = datetime.now(UTC)
    sweep(now=now)
    with transaction() as session:
        budget = memory_budget_mib()
        decision = make_room(held(session, now=now), need_mib=spec.expected_mib, budget_mib=budget)
        if not decision.fits:
            raise _no_room(spec, decision.reason)
        if decision.evict:
            victims = [session.get_one(Resident, i) for i in decision.evict]
            for victim in victims:
                victim.state = "unloading"
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


def memory_budget_mib() -> float:
    """What all models together may take: the profile's budget, or a smaller one set for this folder."""
    budget = current_profile().memory_budget_mib
    override = recall("memory_budget_mib")
    return min(budget, float(override)) if override else budget


def _load(spec: ModelSpec, row: Resident) -> Loaded:
    started = time.monotonic()
    try:
        loaded = engine(spec.engine).load(spec)
    except HotdeskError as error:
        _close(row, f"load failed: {error.happened}")
        raise
    except BaseException:
        _close(row, "load was interrupted")
        raise
    seconds = time.monotonic() - started
    with transaction() as session:
        stored = session.get_one(Resident, row.id)
        stored.state, stored.address, stored.api_key = "resident", loaded.address, loaded.api_key
        stored.identity, stored.memory_mib = loaded.identity, loaded.memory_mib or spec.expected_mib
        stored.load_seconds, stored.loaded_at = seconds, datetime.now(UTC)
        stored.last_used_at = stored.loaded_at
    log_event("loaded", tier=spec.line, seconds=seconds, model=spec.model, context=spec.context_tokens)
    return loaded


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
    """In use means claimed by a ticket that still sits at a desk."""
    ticket = session.get(Ticket, row.claimed_by) if row.claimed_by else None
    return ticket is not None and ticket.state in LIVE_TICKETS


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
