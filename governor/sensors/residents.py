"""What our own models are doing: their share, how full and how fast they are, and where their memory is.

One figure for all models is that of the worst one, and `about` names it. With no model there is nothing that could be
full, waiting, spilled, slack or slow, which is known: 0, and 100% of its speed. Nothing here raises or changes a row.
What the card has of them is `resident_memory`, how fast they write `resident_speed`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from governor.admission import memory_budget_mib
from governor.engines import engine
from governor.engines.protocol import Usage
from governor.errors import HotdeskError
from governor.policy.facts import Reading
from governor.resident_rows import as_loaded, engines_in_memory, process_is_gone
from governor.sensors import resident_memory, resident_speed
from governor.state.residents import Resident
from governor.state.sessions import one_reading

UNITS = {
    "models_mib": "MiB",
    "models_percent": "%",
    "spilled_mib": "MiB",
    "speed_percent": "%",
    "vram_floor_drift_mib": "MiB",
}
# They ask the engines: some milliseconds for each model, and seconds for one that hangs.
COSTLY_UNITS = {"context_fill_percent": "%", "requests_deferred": "", "vram_slack_mib": "MiB"}
# The state database is another's, broken or full; a row names an engine that this release lacks.
UNREADABLE = (HotdeskError, SQLAlchemyError, OSError, ValueError)


def read(now: datetime, *, costly: bool = True) -> list[Reading]:
    """All readings about models in memory.

    Args:
        now: until when their history counts.
        costly: also those for which the engines are asked; else they are left out.
    """
    try:
        with one_reading():
            return _read(now, costly=costly)
    except UNREADABLE as error:
        names = UNITS | (COSTLY_UNITS if costly else {})
        why = f"the state database cannot be read ({type(error).__name__})"
        return [Reading(name=name, value=None, unit=unit, why=why) for name, unit in names.items()]


def _read(now: datetime, *, costly: bool) -> list[Reading]:
    rows = engines_in_memory()
    settled = [row for row in rows if row.state == "resident" and not process_is_gone(row)]
    on_card = [row for row in settled if row.memory == "vram"]
    seen = [
        *_told(("models_mib", "models_percent"), lambda: _share(rows)),
        *_told(("spilled_mib",), lambda: [_worst("spilled_mib", resident_memory.spilled(on_card))]),
        *_told(("speed_percent",), lambda: [_slowest(resident_speed.speeds(on_card, now))]),
        *_told(("vram_floor_drift_mib",), lambda: [resident_memory.floor_drift(rows)]),
    ]
    return [*seen, *_asked(settled, on_card)] if costly else seen


def _asked(settled: Sequence[Resident], on_card: Sequence[Resident]) -> list[Reading]:
    return [
        *_told(("context_fill_percent", "requests_deferred"), lambda: _at_work(settled)),
        *_told(("vram_slack_mib",), lambda: [_worst("vram_slack_mib", resident_memory.slack(on_card))]),
    ]


def _told(names: Sequence[str], ask: Callable[[], list[Reading]]) -> list[Reading]:
    """What `ask` says; when it cannot, these names are unknown and the others are not."""
    try:
        return ask()
    except UNREADABLE as error:
        return [_reading(name, None, f"{type(error).__name__}: {error}") for name in names]


def _share(rows: Sequence[Resident]) -> list[Reading]:
    """What models take, or have reserved, of what they may take."""
    models_mib = sum(row.memory_mib or 0.0 for row in rows)
    budget_mib = memory_budget_mib()
    share = 100 * models_mib / budget_mib if budget_mib > 0 else None
    return [_reading("models_mib", models_mib), _reading("models_percent", share, "models may take nothing")]


def _at_work(rows: Sequence[Resident]) -> list[Reading]:
    usages = [(row.model, _usage(row)) for row in rows]
    waiting = [usage.deferred for _, usage in usages if usage is not None and usage.deferred is not None]
    why = "no engine says how many requests wait"
    deferred = float(sum(waiting)) if waiting or not usages else None
    return [
        _worst("context_fill_percent", [_fill(model, usage) for model, usage in usages]),
        _reading("requests_deferred", deferred, why),
    ]


def _usage(row: Resident) -> Usage | None:
    try:
        return engine(row.engine).usage(as_loaded(row), row.model)
    except UNREADABLE:
        return None


def _fill(model: str, usage: Usage | None) -> Reading:
    if usage is None or usage.filled_tokens is None or usage.context_tokens <= 0:
        return _reading("context_fill_percent", None, "its engine does not say", model)
    return _reading("context_fill_percent", 100 * usage.filled_tokens / usage.context_tokens, about=model)


def _worst(name: str, each: Sequence[Reading]) -> Reading:
    """The highest that is known; unknown when there are models and none is known."""
    known = [reading for reading in each if reading.value is not None]
    return max(known, key=lambda r: r.value or 0.0) if known else next(iter(each), _reading(name, 0.0))


def _slowest(each: Sequence[Reading]) -> Reading:
    known = [reading for reading in each if reading.value is not None]
    return min(known, key=lambda r: r.value or 0.0) if known else next(iter(each), _reading("speed_percent", 100.0))


def _reading(name: str, value: float | None, why: str = "", about: str = "") -> Reading:
    unit = (UNITS | COSTLY_UNITS)[name]
    return Reading(name=name, value=value, unit=unit, why="" if value is not None else why, about=about)
