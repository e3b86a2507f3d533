"""A seat's hold on a model: found in memory or brought in, kept while it is used, measured when it is let go.

`admission` brings models in, `unloading` takes them out, `resident_rows` knows who is in.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update

from governor import drains
from governor.admission import Check, Wait, bring_in, may_go_on, pause
from governor.clearing import send_away
from governor.engines import engine
from governor.engines.protocol import Loaded
from governor.failpoints import failpoint
from governor.footprints import learn
from governor.forecasting import saw_use
from governor.measuring import by_processes, by_the_whole
from governor.memory import memory
from governor.pause_rows import evicting
from governor.policy.facts import ModelSpec, Rung
from governor.resident_rows import as_loaded, claim_unload, in_use
from governor.standing import standing
from governor.state.residents import Resident
from governor.state.sessions import transaction
from governor.unloading import unload

# A client that died leaves its engine slot within 0.34 s when it streamed (measured); 0.5 s is the bound.
QUIET_WITHIN_SECONDS = 0.5
QUIET_PAUSE_SECONDS = 0.02
# Less than this is noise between two looks at the same process.
VISIBLE_MIB = 4.0


@dataclass(frozen=True)
class Residence:
    """A model in memory, as it is: `spec` with the context and the cache that it was really loaded with."""

    spec: ModelSpec
    loaded: Loaded


@contextmanager
def resident(spec: ModelSpec, ticket_id: int, *, wait: Wait = pause, check: Check = may_go_on) -> Iterator[Residence]:
    """Hold `spec` in memory for a seated ticket: found again if it is there, else admitted and loaded.

    Args:
        wait: how long models in use are waited for, check: whether the seat still stands, as `admission.bring_in`
            says.

    Raises:
        DoesNotFit: no room and nobody idle to evict. ModelFailed, NotReady, BadInput: from the engine.
    """
    saw_use(spec, now=datetime.now(UTC))
    row, as_it_is, loaded = bring_in(spec, ticket_id, wait, lambda: _find(spec, ticket_id), check)
    try:
        yield Residence(as_it_is, loaded)
    finally:
        _let_go(row.id, ticket_id)


def _find(spec: ModelSpec, ticket_id: int) -> tuple[Resident, ModelSpec, Loaded] | None:
    """Claim the row of a resident that serves `spec`; a dead or noisy one is ended instead.

    A context that the profile changed meanwhile is no reason to load it anew while it is enough for the work.
    """
    with transaction() as session:
        wanted = select(Resident).where(
            Resident.state == "resident",
            Resident.engine == spec.engine,
            Resident.model == spec.model,
            Resident.line == spec.line,
            Resident.memory == spec.memory,
            Resident.engine_slots == spec.engine_slots,
        )
        if drains.is_asked_for_by_another(session, spec.memory, ticket_id):
            return None
        row = next((r for r in session.scalars(wanted) if _serves(r, spec) and not in_use(session, r)), None)
        if row is None:
            return None
        row.claimed_by = ticket_id
    failpoint("memory.found")
    loaded, unwell = as_loaded(row), _is_unwell(row)
    if not unwell and engine(spec.engine).alive(loaded, spec.model) and _quiet(spec, loaded):
        shaped = {"context_tokens": row.context_tokens, "cache_type": row.cache_type}
        return row, spec.model_copy(update=shaped), loaded
    with transaction() as session:
        claim_unload(session.get_one(Resident, row.id))
    silent = "it did not answer, or was still busy with a request of somebody who is gone"
    unload(row, "the governor found it unwell; it is loaded anew" if unwell else silent)
    return None


def _is_unwell(row: Resident) -> bool:
    """Whether the governor wants this very model out (slow, spilled, slack) and never found it idle: it is loaded anew.

    Seats that follow each other at once leave no idle moment between them.
    """
    stands = standing()
    named = stands.at_least(Rung.EVICT_IDLE, row.memory) and row.model in stands.causes.values()
    return named and bool(row.loaded_at and stands.moved_at and row.loaded_at < stands.moved_at)


def _serves(row: Resident, spec: ModelSpec) -> bool:
    enough = 0 < spec.least_context_tokens <= row.context_tokens
    return enough or row.context_tokens == spec.context_tokens


def _quiet(spec: ModelSpec, loaded: Loaded) -> bool:
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    while not engine(spec.engine).quiet(loaded, spec.model):
        if time.monotonic() >= deadline:
            return False
        time.sleep(QUIET_PAUSE_SECONDS)
    return True


def _let_go(row_id: int, ticket_id: int) -> None:
    """Idle again, and measured once more: graphs and workspaces come with the first use, some with a longer one."""
    failpoint("memory.let_go")
    now = datetime.now(UTC)
    with transaction() as session:
        row = session.get_one(Resident, row_id)
        first = row.last_used_at is None
        mib = _grown_mib(row, first=first) if row.state == "resident" else None
        known = {"memory_mib": mib} if mib else {}
        mine = Resident.id == row_id, Resident.claimed_by == ticket_id
        session.execute(update(Resident).where(*mine).values(claimed_by=None, last_used_at=now, **known))
        closed = evicting(session, row.line, now)
    failpoint("memory.measured")
    if mib:
        learn(row, mib, first=first, now=now)
    if closed is not None:
        send_away(row, closed, now=now)


def _grown_mib(row: Resident, *, first: bool) -> float | None:
    """What it takes, when that is to be learned: after its first use, and after one that made it take visibly more.

    By the whole card it is measured once: what comes and goes later is somebody else's as likely as not.
    """
    where = memory(row.memory)
    mib = by_processes(row, where)
    if first:
        return mib or by_the_whole(row, where, row.memory_mib or 0.0)
    return mib if mib is not None and mib > (row.memory_mib or 0.0) + VISIBLE_MIB else None
