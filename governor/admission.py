"""Bring a model into memory: the room is made and reserved first, then it is loaded, measured and checked.

Whether it fits and who leaves is `policy.residency`; who is in is `resident_rows`. One load at a time in each
memory, so that what is measured free is free for the one who measured it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from governor.engines import engine
from governor.engines.protocol import Loaded
from governor.errors import DoesNotFit, HotdeskError
from governor.events import log_event
from governor.failpoints import failpoint
from governor.footprints import fittings
from governor.forecasting import coming_for
from governor.load_watch import LoadWatch
from governor.memory import Memory, memory
from governor.policy.facts import ModelSpec
from governor.policy.residency import Admission, Coming, Fitting, Space, admit
from governor.profile import current_profile
from governor.resident_rows import IN_MEMORY, claim_unload, close, held, in_use
from governor.state.residents import Resident
from governor.state.sessions import recall, transaction
from governor.unloading import BACK_SECONDS, sweep, unload

# Somebody else's load or eviction is waited for: a 32B model from a cold disk takes half a minute.
ADMISSION_SECONDS = 60.0
ADMISSION_PAUSE_SECONDS = 0.05
# On the card must be at least this share of what the file puts there: less means layers on the CPU.
SPILL_SHARE = 0.9

Wait = Callable[[float], bool]


@dataclass(frozen=True)
class _Reserved:
    """What one look came to: a row that is ours to load, or rows that are ours to unload, or neither: wait."""

    row: Resident | None = None
    fitting: Fitting | None = None
    leaving: Sequence[Resident] = ()
    why: str = ""


def pause(seconds: float) -> bool:
    """The wait of somebody without patience: a moment, and no more than what everybody is given."""
    time.sleep(seconds)
    return False


def bring_in(spec: ModelSpec, ticket_id: int, wait: Wait) -> tuple[Resident, ModelSpec, Loaded]:
    """Make room, reserve it in the transaction that finds it, load; the row, and the model as it was loaded.

    Args:
        wait: pauses for a moment while models in use drain, others load or leave; once it says False, a minute
            after the call is the end of it.

    Raises:
        DoesNotFit: in no context that would do, or not within the waiting. ModelFailed, NotReady, BadInput.
    """
    ways, deadline = fittings(spec), time.monotonic() + ADMISSION_SECONDS
    while True:
        look = _reserve(spec, ways, ticket_id)
        if look.row is not None and look.fitting is not None:
            shaped = {"context_tokens": look.fitting.context_tokens, "cache_type": look.fitting.cache_type}
            as_loaded = spec.model_copy(update=shaped)
            failpoint("memory.reserved")
            return look.row, as_loaded, _load(as_loaded, look.row, look.fitting)
        for victim in look.leaving:
            unload(victim, look.why)
        if not look.leaving and not wait(ADMISSION_PAUSE_SECONDS) and time.monotonic() >= deadline:
            raise no_room(spec, [look.why])


def _reserve(spec: ModelSpec, ways: Sequence[Fitting], ticket_id: int) -> _Reserved:
    now = datetime.now(UTC)
    sweep(now=now)
    where, coming = memory(spec.memory), coming_for(spec, now=now)
    with transaction() as session:
        others = _rows(session, spec)
        if any(row.state == "loading" for row in others):
            return _Reserved(why="another model is being loaded")
        another_context = [row for row in others if row.state == "resident" and _same_model(row, spec)]
        if another_context:
            return _replace(session, spec, another_context)
        decided = _decide(session, spec, ways, where, coming, now)
        if decided.fitting is not None and not decided.evict:
            row = _new_row(spec, decided.fitting, where, ticket_id)
            session.add(row)
            return _Reserved(row, decided.fitting)
        victims = [session.get_one(Resident, i) for i in decided.evict]
        for victim in victims:
            claim_unload(victim)
    if not victims and not decided.waits and not any(row.state == "unloading" and not row.stuck_at for row in others):
        raise no_room(spec, decided.refusals)
    why = f"to make room for {spec.model} at {spec.context_tokens} tokens" if victims else decided.refusals[-1]
    return _Reserved(leaving=victims, why=why)


def _decide(
    session: Session, spec: ModelSpec, ways: Sequence[Fitting], where: Memory, coming: Coming, now: datetime
) -> Admission:
    space = Space(free_mib=where.free_mib(), budget_mib=memory_budget_mib())
    return admit(held(session, now=now, memory=spec.memory), ways, space, newcomer=spec.model, coming=coming)


def _replace(session: Session, spec: ModelSpec, rows: Sequence[Resident]) -> _Reserved:
    """One context per model: the one that is too small leaves first, or is waited for while it is in use."""
    idle = [row for row in rows if not in_use(session, row)]
    for row in idle:
        claim_unload(row)
    return _Reserved(leaving=idle, why=f"it has {rows[0].context_tokens} tokens and {spec.context_tokens} are wanted")


def _rows(session: Session, spec: ModelSpec) -> Sequence[Resident]:
    wanted = select(Resident).where(Resident.state.in_(IN_MEMORY), Resident.memory == spec.memory)
    return session.scalars(wanted).all()


def _same_model(row: Resident, spec: ModelSpec) -> bool:
    return (row.engine, row.model, row.line) == (spec.engine, spec.model, spec.line)


def _new_row(spec: ModelSpec, fitting: Fitting, where: Memory, ticket_id: int) -> Resident:
    return Resident(
        engine=spec.engine,
        model=spec.model,
        context_tokens=fitting.context_tokens,
        cache_type=fitting.cache_type,
        engine_slots=spec.engine_slots,
        line=spec.line,
        memory=spec.memory,
        memory_mib=fitting.need_mib,
        free_before_mib=where.free_mib(),
        claimed_by=ticket_id,
    )


def memory_budget_mib() -> float:
    """What all models of one memory together may take: the profile's budget, or a smaller one set for this folder."""
    budget = current_profile().memory_budget_mib
    override = recall("memory_budget_mib")
    return min(budget, float(override)) if override else budget


def _load(spec: ModelSpec, row: Resident, fitting: Fitting) -> Loaded:
    """Load under watch, measure, check; the engine's process is in the row before it may outlive this one."""
    started = time.monotonic()
    where = memory(spec.memory)

    def record(loaded: Loaded) -> None:
        _record(row.id, loaded, time.monotonic() - started)

    watch = LoadWatch(where, fitting.footprint)
    try:
        loaded = engine(spec.engine).load(spec, record=record, watch=watch)
    except BaseException as error:
        watch.wait_until_gone(BACK_SECONDS)
        why = error.happened if isinstance(error, HotdeskError) else "it was interrupted"
        close(row, f"load failed: {why}", now=datetime.now(UTC))
        raise
    failpoint("memory.loaded")
    _measure(spec, row, loaded, where)
    seconds = time.monotonic() - started
    log_event("loaded", tier=spec.line, seconds=seconds, model=spec.model, context=spec.context_tokens)
    return loaded


def _record(row_id: int, loaded: Loaded, seconds: float) -> None:
    now = datetime.now(UTC)
    with transaction() as session:
        row = session.get_one(Resident, row_id)
        row.state, row.address, row.api_key = "resident", loaded.address, loaded.api_key
        row.identity, row.pids = loaded.identity, list(loaded.pids)
        row.load_seconds, row.loaded_at = seconds, now
    failpoint("memory.recorded")


def _measure(spec: ModelSpec, row: Resident, loaded: Loaded, where: Memory) -> None:
    """Put the measured memory into the row.

    Raises:
        DoesNotFit: part of the model is not where it was meant to be; it was unloaded again.
    """
    with transaction() as session:
        row = session.get_one(Resident, row.id)
        mib = measured_mib(row, where)
        row.memory_mib = mib or loaded.memory_mib or row.memory_mib
    weights = engine(spec.engine).weights(spec) if spec.memory == "vram" and mib is not None else None
    if weights is None or mib is None or mib >= SPILL_SHARE * (weights.file_mib - weights.embedding_mib):
        return
    with transaction() as session:
        claim_unload(session.get_one(Resident, row.id))
    unload(row, "it spilled to the host's memory")
    raise no_room(spec, [f"only {mib:.0f} MiB of it came onto the card, the rest stayed on the CPU"])


def measured_mib(row: Resident, where: Memory) -> float | None:
    """What a resident takes now: by its processes, else by what is less free than before it came; None: unknown.

    By the whole only on a card: pages of weights in the host's memory count as available all along.
    """
    pids = row.pids or ([row.pid] if row.pid else [])
    by_process = where.held_mib(pids) if pids else None
    if by_process is not None:
        return by_process
    free_mib = where.free_mib()
    if row.memory != "vram" or free_mib is None or row.free_before_mib is None:
        return None
    return max(0.0, row.free_before_mib - free_mib)


def no_room(spec: ModelSpec, refusals: Sequence[str]) -> DoesNotFit:
    """The error of a model that may not come in, with every reason."""
    return DoesNotFit(
        f"{spec.model} at {spec.context_tokens} tokens does not fit: {'; '.join(refusals)}.",
        means="Nothing was loaded; the request takes another route or is skipped.",
        remedy="`hotdesk residents` shows what is in memory and what each model takes.",
        refusals=list(refusals),
    )
