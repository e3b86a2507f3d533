"""What a model will take, from what it took before: the measurements in the database, and what they teach.

The arithmetic is `policy.footprint`; who measures is `governor.residency`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from governor.engines import engine
from governor.memory import memory
from governor.policy.eviction import Size
from governor.policy.facts import Footprint, ModelSpec, Weights
from governor.policy.footprint import (
    LARGE_CARD_MIB,
    Measured,
    add,
    corrected,
    driver_context_mib,
    estimate_mib,
    expected,
    grown,
    ladder,
)
from governor.policy.residency import Fitting
from governor.state.residents import LearnedFootprint, Resident
from governor.state.sessions import reading, transaction


def fittings(spec: ModelSpec) -> list[Fitting]:
    """Every way in which `spec` may be loaded here, the wanted one first, each with what it takes."""
    maker = engine(spec.engine)
    weights, measured = maker.weights(spec), _measured(spec, memory(spec.memory).place)
    ways = ladder(spec.context_tokens, spec.least_context_tokens, _cache_types(spec, maker.cache_types))
    return [
        Fitting(context_tokens=context, cache_type=cache, footprint=_expected(spec, weights, measured, context, cache))
        for context, cache in ways
    ]


def _cache_types(spec: ModelSpec, choice: Sequence[str]) -> Sequence[str]:
    """What the engine can do, the wanted one first."""
    return (spec.cache_type, *(kind for kind in choice if kind != spec.cache_type)) if choice else ()


def _expected(
    spec: ModelSpec, weights: Weights | None, measured: dict[tuple[int, str], Measured], context: int, cache: str
) -> Footprint:
    own = measured.get((context, cache))
    if weights is None:
        return expected(own, None, spec.expected_mib)
    estimates = {way: _estimate(spec, weights, *way) for way in {*measured, (context, cache)}}
    learned = [(measured[way], estimates[way]) for way in measured]
    return expected(own, corrected(estimates[context, cache], learned), spec.expected_mib)


def _estimate(spec: ModelSpec, weights: Weights, context_tokens: int, cache_type: str) -> float:
    """Over several cards an engine has its driver context on each (589 MiB on each of two H100s, measured)."""
    where = memory(spec.memory)
    card_mib = (where.total_mib() or LARGE_CARD_MIB) / where.cards if spec.memory == "vram" else None
    estimate = estimate_mib(
        weights,
        context_tokens=context_tokens,
        cache_type=cache_type,
        engine_slots=spec.engine_slots,
        card_mib=card_mib,
    )
    return estimate + ((where.cards - 1) * driver_context_mib(card_mib) if card_mib is not None else 0.0)


def _measured(spec: ModelSpec, place: str) -> dict[tuple[int, str], Measured]:
    """What this model was measured to take here, by context and cache type."""
    wanted = select(LearnedFootprint).where(
        LearnedFootprint.engine == spec.engine,
        LearnedFootprint.model == spec.model,
        LearnedFootprint.engine_slots == spec.engine_slots,
        LearnedFootprint.place == place,
    )
    with reading() as session:
        return {(row.context_tokens, row.cache_type): _as_measured(row) for row in session.scalars(wanted)}


def learned(row: Resident) -> Footprint | None:
    """What a model that was loaded like this one was measured to take after its first use; None before the first."""
    with reading() as session:
        kept = session.get(LearnedFootprint, _key(row))
        return expected(_as_measured(kept), None, 0.0) if kept else None


def learn(row: Resident, mib: float, *, first: bool, now: datetime) -> None:
    """Keep what a resident was measured to take: after its first use, or that a later one made it take more."""
    key = _key(row)
    with transaction() as session:
        kept = session.get(LearnedFootprint, key)
        so_far = _as_measured(kept) if kept else None
        after = add(so_far, mib, row.load_seconds or 0.0) if first or so_far is None else grown(so_far, mib)
        values: dict[str, Any] = {**key, **after.model_dump(), "measured_at": now}
        session.merge(LearnedFootprint(**values))


def _key(row: Resident) -> dict[str, Any]:
    return {
        "engine": row.engine,
        "model": row.model,
        "context_tokens": row.context_tokens,
        "cache_type": row.cache_type,
        "engine_slots": row.engine_slots,
        "place": memory(row.memory).place,
    }


def sizes(places: Sequence[str]) -> dict[str, Size]:
    """What each model took lately in these places, and what loading it costs: for looking ahead."""
    wanted = select(LearnedFootprint).where(LearnedFootprint.place.in_(places)).order_by(LearnedFootprint.measured_at)
    with reading() as session:
        rows = session.scalars(wanted).all()
    return {row.model: Size(mib=row.mean_mib, load_seconds=row.load_seconds) for row in rows}


def _as_measured(row: LearnedFootprint) -> Measured:
    return Measured(
        loads=row.loads,
        mean_mib=row.mean_mib,
        squares=row.squares,
        highest_mib=row.highest_mib,
        load_seconds=row.load_seconds,
    )
