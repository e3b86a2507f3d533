"""Take idle models out of memory: those that nobody used for too long, and others while the memory is too full.

Who leaves is `policy.watermarks`; the flow `evict` calls this every few minutes. Each act is measured before the
next is decided, and what gave nothing back names the next one.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import select

from governor.actions.unload import Unload, named, why_it_stays
from governor.clearing import left_behind, send_away
from governor.forecasting import next_uses
from governor.memory import MEMORIES, memory
from governor.policy.facts import Held, Rung
from governor.policy.ladder import keep_alive_seconds
from governor.policy.rules import Rules
from governor.policy.watermarks import overstayed, past_mark
from governor.profile import current_profile
from governor.resident_rows import held
from governor.standing import standing
from governor.state.residents import Keeping
from governor.state.sessions import reading
from governor.unloading import sweep, unload_idle


def evict_idle(now: datetime, *, rules: Rules | None = None, unload: Unload = unload_idle) -> list[str]:
    """Evict what has been idle for too long on the present rung, then what the watermarks ask for; in words.

    One model that cannot be evicted keeps none of the others in memory. A dry run tells no engine anything.
    """
    rules = rules or Rules()
    sweep(now=now, ask_engines=True, finish=not rules.dry_run)
    for row, pause in [] if rules.dry_run else left_behind(now):
        send_away(row, pause, now=now)
    return [said for name in MEMORIES for said in _evict_from(name, now, rules, unload)]


def used_percent(memory_name: str, *, without_mib: float = 0.0) -> float | None:
    """How full a memory is, whoever fills it, or would be without some of it; None when it cannot be read."""
    where = memory(memory_name)
    free, total = where.free_mib(), where.total_mib()
    return None if free is None or not total else 100 * (1 - (free + without_mib) / total)


def _evict_from(name: str, now: datetime, rules: Rules, unload: Unload) -> Iterator[str]:
    with reading() as session:
        inside = held(session, now=now, memory=name)
        away = {model: max(0.0, (at - now).total_seconds()) for model, at in next_uses(session, now=now).items()}
        own = _own_keep_alives(session.scalars(select(Keeping)).all())
    normal = rules.keep_alive_seconds or current_profile().keep_alive_seconds
    rung = Rung.TRIM if standing().at_least(Rung.TRIM, name) else Rung.NORMAL
    keep_alive = keep_alive_seconds(rung, normal)
    told: list[Held] = []
    for leaving in overstayed(inside, keep_alive_seconds=keep_alive, own_seconds=own, next_use_seconds=away):
        told.append(next(h for h in inside if h.resident_id == leaving.resident_id))
        yield _evict(told[-1], leaving.reason, now, rules, unload)
    marks, begun = rules.hours.marks(now), False
    # One after the other until the memory is below its mark: measured anew after each, reckoned in a dry run.
    while True:
        left = [h for h in inside if h not in told]
        percent = used_percent(name, without_mib=sum(h.memory_mib for h in told) if rules.dry_run else 0.0)
        next_one = past_mark(left, percent, marks=marks, evicting=begun, next_use_seconds=away)
        if next_one is None:
            return
        begun = True
        told.append(next(h for h in left if h.resident_id == next_one.resident_id))
        yield _evict(told[-1], next_one.reason, now, rules, unload)


def _own_keep_alives(keepings: Sequence[Keeping]) -> dict[str, float]:
    return {k.model: k.keep_alive_seconds for k in keepings if k.keep_alive_seconds is not None}


def _evict(model: Held, why: str, now: datetime, rules: Rules, unload: Unload) -> str:
    """Evict it, unless it was used since it was looked at: those before it may have taken seconds each."""
    if rules.dry_run:
        return f"would evict {named(model)}: {why}"
    return why_it_stays(model, why, seen_at=now, unload=unload) or f"evicted {named(model)}: {why}"
