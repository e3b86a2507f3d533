"""Bring a model into memory: the room is made and reserved first, then it is loaded, measured and checked.

Whether it fits and who leaves is `policy.residency`; who is in is `resident_rows`. One load at a time in each
memory, so that what is measured free is free for the one who measured it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from governor import drains
from governor.actions.shrink_context import shrunk
from governor.engines import engine
from governor.engines.protocol import Loaded
from governor.errors import DoesNotFit, HotdeskError
from governor.events import log_event
from governor.failpoints import failpoint
from governor.footprints import fittings
from governor.forecasting import coming_for
from governor.load_watch import LoadWatch
from governor.measuring import by_processes, by_the_whole, spilled
from governor.memory import Memory, memory
from governor.policy.facts import Footprint, ModelSpec
from governor.policy.residency import Admission, Coming, Fitting, Space, admit
from governor.profile import current_profile
from governor.resident_rows import IN_MEMORY, claim_unload, close, held, in_use, is_own
from governor.standing import standing
from governor.state.residents import Resident
from governor.state.sessions import recall, transaction
from governor.unloading import BACK_SECONDS, sweep, unload, unload_all

# Somebody else's load or eviction is waited for: a 32B model from a cold disk takes half a minute.
ADMISSION_SECONDS = 60.0
ADMISSION_PAUSE_SECONDS = 0.05
# The last tenth of a model's memory comes back within this: 0.1 to 0.3 s were measured from the end of its process.
SETTLE_SECONDS = 0.5

Wait = Callable[[float], bool]
Check = Callable[[], None]
Claimed = tuple[Resident, ModelSpec, Loaded]
Find = Callable[[], Claimed | None]


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


def may_go_on() -> None:
    """The check of somebody whose seat nobody takes away."""


def bring_in(spec: ModelSpec, ticket_id: int, wait: Wait, find: Find, check: Check = may_go_on) -> Claimed:
    """The model in memory: found there, or brought in once there is room for it; its row is claimed.

    Args:
        wait: pauses for a moment while models in use drain, others load or leave; once it says False, a minute
            after the call is the end of it.
        check: raises where nothing may be brought in any more; asked before, and all through a load.
        find: claims one that is there and serves; asked again after every wait.

    Raises:
        DoesNotFit: in no context that would do, or not within the waiting. ModelFailed, NotReady, BadInput.
    """
    found = find()
    if found is not None:
        return found
    ways, deadline = shrunk(fittings(spec), spec.memory, standing()), time.monotonic() + ADMISSION_SECONDS
    try:
        while True:
            check()
            look = _reserve(spec, ways, ticket_id)
            if look.row is not None and look.fitting is not None:
                shaped = {"context_tokens": look.fitting.context_tokens, "cache_type": look.fitting.cache_type}
                as_loaded = spec.model_copy(update=shaped)
                failpoint("memory.reserved")
                return look.row, as_loaded, _load(as_loaded, look.row, look.fitting, check)
            if look.leaving:
                unload_all(look.leaving, look.why)
            elif not wait(ADMISSION_PAUSE_SECONDS) and time.monotonic() >= deadline:
                raise no_room(spec, [look.why])
            elif (found := find()) is not None:
                return found
    finally:
        drains.give_up(spec.memory, ticket_id)


def _reserve(spec: ModelSpec, ways: Sequence[Fitting], ticket_id: int) -> _Reserved:
    now = datetime.now(UTC)
    sweep(now=now)
    where, coming = memory(spec.memory), coming_for(spec, now=now)
    with transaction() as session:
        others = _rows(session, spec)
        wait_for = _must_wait(session, spec, others, ticket_id)
        if wait_for is not None:
            return _Reserved(why=wait_for)
        small = [row for row in others if row.state == "resident" and _same_model(row, spec)]
        decided = _decide(session, spec, ways, where, coming, now, small)
        first_choice = decided.fitting == ways[0] and not decided.evict
        if not first_choice and _left_just_now(session, spec.memory, now):
            return _Reserved(why="memory of a model that left is still coming back")
        victims = [*small, *(session.get_one(Resident, i) for i in decided.evict)] if decided.fitting else []
        for victim in victims:
            claim_unload(victim)
        if decided.fitting is not None and not victims:
            row = _new_row(spec, decided.fitting, where, ticket_id)
            session.add(row)
            return _Reserved(row, decided.fitting)
        if victims or decided.waits:  # what we make room for is ours, before anybody younger
            drains.ask(session, spec.memory, ticket_id)
        elif not any(row.state == "unloading" and not row.stuck_at for row in others):
            raise no_room(spec, decided.refusals)
    why = f"to make room for {spec.model} at {spec.context_tokens} tokens" if victims else decided.refusals[-1]
    return _Reserved(leaving=victims, why=why)


def _must_wait(session: Session, spec: ModelSpec, others: Sequence[Resident], ticket_id: int) -> str | None:
    """What has to be over first, None when nothing has to.

    A server that goes by names would unload the new model under the old one's name, so it is not loaded beside that.
    """
    if any(row.state == "loading" for row in others):
        return "another model is being loaded"
    if drains.is_asked_for_by_another(session, spec.memory, ticket_id):
        return "somebody before us waits for the models in use to leave"
    wanted = select(Resident).where(
        Resident.state == "unloading", Resident.engine == spec.engine, Resident.model == spec.model
    )
    same = [row for row in session.scalars(wanted) if row.pid is None or row.line == spec.line]
    if any(row.stuck_at is None for row in same):
        return f"{spec.model} is just being unloaded"
    if any(in_use(session, row) and not is_own(session, row) for row in others if _same_model(row, spec)):
        return f"{spec.model} is in use"
    return None


def _decide(
    session: Session,
    spec: ModelSpec,
    ways: Sequence[Fitting],
    where: Memory,
    coming: Coming,
    now: datetime,
    small: Sequence[Resident],
) -> Admission:
    """As if those that are replaced had left already: one model has one context, and keeps it if no larger one fits."""
    inside = held(session, now=now, memory=spec.memory)
    replaced = [h for h in inside if h.resident_id in {row.id for row in small}]
    if any(h.pinned or h.busy for h in replaced):
        return Admission(refusals=(f"it is in memory with {replaced[0].context_tokens} tokens, pinned or in use",))
    free_mib = where.free_mib()
    if free_mib is not None:
        free_mib += sum(h.memory_mib if h.frees_mib is None else h.frees_mib for h in replaced)
    space = Space(free_mib=free_mib, budget_mib=memory_budget_mib())
    rest = [h for h in inside if h not in replaced]
    return admit(rest, ways, space, newcomer=spec.model, coming=coming)


def _left_just_now(session: Session, memory_name: str, now: datetime) -> bool:
    """Whether a model left so lately that some of its memory may still be on its way."""
    since = now - timedelta(seconds=SETTLE_SECONDS)
    gone = select(Resident.id).where(Resident.memory == memory_name, Resident.ended_at >= since).limit(1)
    return session.scalars(gone).first() is not None


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


def _load(spec: ModelSpec, row: Resident, fitting: Fitting, check: Check) -> Loaded:
    """Load under watch, measure, check; the engine's process is in the row before it may outlive this one."""
    started = time.monotonic()
    where = memory(spec.memory)

    def record(loaded: Loaded) -> None:
        _record(row.id, loaded, time.monotonic() - started)

    watch = LoadWatch(where, fitting.footprint)

    def watched(pids: Sequence[int]) -> None:
        check()
        watch(pids)

    try:
        loaded = engine(spec.engine).load(spec, record=record, watch=watched)
    except BaseException as error:
        watch.wait_until_gone(BACK_SECONDS)
        why = error.happened if isinstance(error, HotdeskError) else "it was interrupted"
        close(row, f"load failed: {why}", now=datetime.now(UTC))
        raise
    failpoint("memory.loaded")
    _measure(spec, row, loaded, where, fitting.footprint)
    seconds = time.monotonic() - started
    log_event("loaded", tier=spec.line, seconds=seconds, model=spec.model, context=spec.context_tokens)
    return loaded


def _record(row_id: int, loaded: Loaded, seconds: float) -> None:
    now = datetime.now(UTC)
    with transaction() as session:
        row = session.get_one(Resident, row_id)
        row.state, row.address, row.api_key = "resident", loaded.address, loaded.api_key
        row.identity = loaded.identity
        row.pids = list(loaded.pids or ([loaded.identity.pid] if loaded.identity else []))
        row.load_seconds, row.loaded_at = seconds, now
    failpoint("memory.recorded")


def _measure(spec: ModelSpec, row: Resident, loaded: Loaded, where: Memory, expected: Footprint) -> None:
    """Put the measured memory into the row; until its first use no less than expected.

    Raises:
        DoesNotFit: part of the model is not where it was meant to be; it was unloaded again.
    """
    with transaction() as session:
        row = session.get_one(Resident, row.id)
        mib = by_processes(row, where)
        if mib == 0.0:  # a driver that knows these processes by other numbers, such as those of the host
            row.pids, mib = [], None
        known = mib or by_the_whole(row, where, expected.mib) or loaded.memory_mib
        row.memory_mib = max(known, expected.mib) if known else row.memory_mib
        on_the_cpu = spec.memory == "vram" and mib is not None and spilled(spec, mib, expected)
        if on_the_cpu:
            claim_unload(row)
    if on_the_cpu:
        unload(row, "it spilled to the host's memory")
        raise no_room(spec, [f"only {mib:.0f} MiB of it came onto the card, the rest stayed on the CPU"])


def no_room(spec: ModelSpec, refusals: Sequence[str]) -> DoesNotFit:
    """The error of a model that may not come in, with every reason."""
    return DoesNotFit(
        f"{spec.model} at {spec.context_tokens} tokens does not fit: {'; '.join(refusals)}.",
        means="Nothing was loaded; the request takes another route or is skipped.",
        remedy="`hotdesk residents` shows what is in memory and what each model takes.",
        refusals=list(refusals),
    )
