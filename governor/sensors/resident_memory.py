"""Where the memory of our models on the card is: not on the card (spill), on it and unused (slack), or others' (drift).

By what the driver charges to their processes; what it does not tell is unknown. Remembers the lowest that the card
held without us since this boot, and changes nothing else.
"""

import json
from collections.abc import Sequence
from contextlib import suppress

from governor.engines import engine
from governor.engines.protocol import Running
from governor.errors import HotdeskError
from governor.footprints import learned
from governor.measuring import SPILLED_BELOW_ESTIMATE_MIB, by_processes
from governor.memory import memory
from governor.policy.facts import Reading
from governor.processes import boot_id, is_running
from governor.sensors.gpu import NAMES_NONE
from governor.state.models import Setting
from governor.state.residents import Resident
from governor.state.sessions import recall, transaction

# Setting: the boot, the card, and the lowest so far. One row: another boot's is of no use.
FLOOR = "vram_floor"
# More than this between two looks at the same processes: memory is on the move, and the difference says nothing.
STILL_WITHIN_MIB = 1.0
HIDDEN = "the driver does not say what its processes hold"


def spilled(rows: Sequence[Resident]) -> list[Reading]:
    """For each of these models on the card, what it should hold there and does not.

    Past what its loads differ by, as admission judges a load: what came in as sound is no spill later.
    """
    return [_spilled(row) for row in rows]


def slack(rows: Sequence[Resident]) -> list[Reading]:
    """For each of these models on the card, what its processes hold beyond what its engine accounts for.

    A process that freed half of its blocks gives nothing back (measured); only its end does. It accounts for what it
    says, or for what the model was measured to take after its first use where that is more: an engine's own figure
    may leave out the driver's context, 0.3 to 0.6 GiB.
    """
    said = {name: _residents(name) for name in {row.engine for row in rows}}
    return [_slack(row, _said_mib(row, said[row.engine])) for row in rows]


def floor_drift(rows: Sequence[Resident]) -> Reading:
    """What the card holds without our engines, less the lowest of this boot: what others took, or never gave back.

    Args:
        rows: every model in memory, whatever its state.
    """
    ours = [row for row in rows if row.memory == "vram"]
    if any(row.state == "loading" for row in ours):
        return _reading("vram_floor_drift_mib", None, "a model is being loaded")
    if any(not row.pids for row in ours):
        return _reading("vram_floor_drift_mib", None, "an engine does not say which processes are its")
    floor_mib, why = _floor_mib({pid for row in ours for pid in row.pids})
    if floor_mib is None:
        return _reading("vram_floor_drift_mib", None, why)
    return _reading("vram_floor_drift_mib", floor_mib - _lowest_mib(floor_mib))


def _spilled(row: Resident) -> Reading:
    held_mib, why = _held_mib(row)
    if held_mib is None:
        return _reading("spilled_mib", None, why, row.model)
    before = learned(row)
    missing = (before.mib - before.spread_mib if before is not None else row.memory_mib or 0.0) - held_mib
    if before is None and missing <= SPILLED_BELOW_ESTIMATE_MIB:
        missing = 0.0  # so much an estimate may be wrong by
    return _reading("spilled_mib", max(0.0, missing), about=row.model)


def _slack(row: Resident, said_mib: float | None) -> Reading:
    held_mib, why = _held_mib(row)
    if held_mib is None:
        return _reading("vram_slack_mib", None, why, row.model)
    before = learned(row)
    accounts = [mib for mib in (said_mib, before.mib if before is not None else None) if mib is not None]
    if not accounts:
        return _reading("vram_slack_mib", None, "its engine does not say, and it was never measured before", row.model)
    return _reading("vram_slack_mib", max(0.0, held_mib - max(accounts)), about=row.model)


def _held_mib(row: Resident) -> tuple[float | None, str]:
    """What its processes hold, or why that is not known."""
    if not row.pids:
        return None, "its engine does not say which processes are its"
    held_mib = by_processes(row, memory(row.memory))
    if held_mib == 0.0:  # they ended, and nobody has seen to the row yet
        return None, "its processes are not on the card"
    return held_mib, HIDDEN if held_mib is None else ""


def _residents(name: str) -> Sequence[Running]:
    with suppress(HotdeskError):
        if engine(name).accounts_for_vram:  # the others would list their processes for nothing, at 10 ms of CPU
            return engine(name).residents() or ()
    return ()


def _said_mib(row: Resident, said: Sequence[Running]) -> float | None:
    """What its engine says that it has on the card. Some engines list a model under a longer name."""
    its = (r for r in said if r.model == row.model or set(r.pids) & set(row.pids))
    return next((running.vram_mib for running in its), None)


def _floor_mib(pids: set[int]) -> tuple[float | None, str]:
    where = memory("vram")
    before_mib = where.held_mib(tuple(pids)) if pids else 0.0
    free_mib, total_mib = where.free_mib(), where.total_mib()
    after_mib = where.held_mib(tuple(pids)) if pids else 0.0
    if free_mib is None or total_mib is None:
        return None, "there is no card, or it does not say its memory"
    if before_mib is None or after_mib is None:
        return None, HIDDEN
    if after_mib == 0.0 and any(map(is_running, pids)):
        return None, NAMES_NONE
    if abs(after_mib - before_mib) > STILL_WITHIN_MIB:
        return None, "a model's memory is on the move"
    return max(0.0, total_mib - free_mib - after_mib), ""


def _lowest_mib(floor_mib: float) -> float:
    """The lowest of this boot on this card, `floor_mib` counted in; kept when it is that one."""
    known = _kept(recall(FLOOR))
    if known is not None and known <= floor_mib:
        return known
    with transaction() as session:
        kept = session.get(Setting, FLOOR)
        known = _kept(kept.value if kept else "")
        lowest = floor_mib if known is None else min(known, floor_mib)
        value = json.dumps({"boot": boot_id(), "place": memory("vram").place, "mib": lowest})
        session.merge(Setting(key=FLOOR, value=value))
    return lowest


def _kept(value: str) -> float | None:
    """Of this boot and this card, else None."""
    try:
        kept = json.loads(value)
        return float(kept["mib"]) if (kept["boot"], kept["place"]) == (boot_id(), memory("vram").place) else None
    except (ValueError, KeyError, TypeError):
        return None


def _reading(name: str, value: float | None, why: str = "", about: str = "") -> Reading:
    return Reading(name=name, value=value, unit="MiB", why=why, about=about)
