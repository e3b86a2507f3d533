"""One look of the governor: read, assess, plan, act, record. The flows `govern` and `evict` call this."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import ValidationError
from sqlalchemy import select

from governor import residency
from governor.errors import HotdeskError
from governor.events import log_event
from governor.policy.escalation import keep_alive_seconds, plan
from governor.policy.facts import Held, Level, Reading, Rung
from governor.policy.pressure import Assessment, Mark, assess
from governor.policy.residency import idle_to_evict
from governor.profile import current_profile
from governor.sensors import gpu, host
from governor.state.models import GovernorTick, Setting
from governor.state.sessions import reading, recall, transaction

# Models past what they may take together (by measurement, after admission by estimate). VRAM: ComfyUI keeps
# 400 MiB free on every card for the desktop; calm above that, trim below half of it. Host: earlyoom acts at
# 10% available, we trim before that.
DEFAULT_MARKS = (
    Mark(reading="models_percent", high=100.0, low=95.0),
    Mark(reading="vram_free_mib", high=200.0, low=400.0, rising_is_bad=False),
    Mark(reading="host_available_percent", high=12.0, low=20.0, rising_is_bad=False),
)


@dataclass(frozen=True)
class Rules:
    """What an operator may set: marks, keep-alive (None: the profile's), dry run."""

    marks: tuple[Mark, ...] = DEFAULT_MARKS
    keep_alive_seconds: float | None = None
    dry_run: bool = False


class Unload(Protocol):
    """How a model leaves memory: `governor.residency.unload_idle`, or a fake."""

    def __call__(self, resident_id: int, *, reason: str) -> bool:
        """Evict one model unless somebody uses it; True once its memory is back."""
        ...


def readings(now: datetime) -> list[Reading]:
    """All sensors, and what our own models take of what they may."""
    with reading() as session:
        models_mib = sum(h.memory_mib for h in residency.held(session, now=now))
    budget_mib = residency.memory_budget_mib()
    share = 100 * models_mib / budget_mib if budget_mib > 0 else None
    return [
        *gpu.read(),
        *host.read(),
        Reading(name="models_mib", value=models_mib, unit="MiB"),
        Reading(name="models_percent", value=share, unit="%", why="" if budget_mib > 0 else "models may take nothing"),
    ]


def tick(now: datetime, *, rules: Rules | None = None) -> GovernorTick:
    """Look once, move at most one rung, record it. A dry run stays where it is and records what it would do."""
    rules = rules or Rules()
    residency.sweep(now=now)
    seen = readings(now)
    assessment = assess(seen, rules.marks, _previous())
    causes = tuple(name for name, level in assessment.levels.items() if level is Level.HIGH)
    rung = current_rung()
    step = plan(assessment.worst, rung, causes=causes)
    stands = rung if rules.dry_run else step.rung
    row = GovernorTick(
        at=now,
        rung=stands.value,
        pressure=assessment.worst.value,
        dry_run=rules.dry_run,
        readings={r.name: (r.value if r.value is not None else f"unknown: {r.why}") for r in seen},
        actions=[f"{'would move' if rules.dry_run else 'moved'} from {rung} to {step.rung}"] if step.changed else [],
        reason=step.reason,
    )
    with transaction() as session:  # the rung, what it was decided from and the record: all or nothing
        session.merge(Setting(key="rung", value=stands.value))
        session.merge(Setting(key="assessment", value=assessment.model_dump_json()))
        session.add(row)
    log_event("governed", tier=stands.value, pressure=assessment.worst.value, why=step.reason)
    return row


def evict_idle(now: datetime, *, rules: Rules | None = None, unload: Unload = residency.unload_idle) -> list[str]:
    """Evict what has been idle for too long on the present rung; what was done, in words.

    One model that cannot be evicted keeps none of the others in memory.
    """
    rules = rules or Rules()
    residency.sweep(now=now)
    normal = rules.keep_alive_seconds or current_profile().keep_alive_seconds
    with reading() as session:
        inside = {h.resident_id: h for h in residency.held(session, now=now)}
    keep_alive = keep_alive_seconds(current_rung(), normal)
    leaving = idle_to_evict(tuple(inside.values()), keep_alive_seconds=keep_alive)
    return [_evict(inside[resident_id], why, rules.dry_run, unload) for resident_id, why in leaving]


def _evict(model: Held, why: str, dry_run: bool, unload: Unload) -> str:
    name = f"{model.model} at {model.context_tokens} tokens ({model.memory_mib:.0f} MiB)"
    if dry_run:
        return f"would evict {name}: {why}"
    try:
        gone = unload(model.resident_id, reason=why)
    except HotdeskError as error:
        log_event("not_evicted", tier=model.line, level=logging.WARNING, model=model.model, why=error.happened)
        return f"could not evict {name}: {error.happened}"
    return f"evicted {name}: {why}" if gone else f"kept {name}: in use again, or its memory is not back yet"


def current_rung() -> Rung:
    """The rung of this state folder; one that this release does not know counts as normal."""
    stored = recall("rung", Rung.NORMAL.value)
    return Rung(stored) if stored in set(Rung) else Rung.NORMAL


def last_tick() -> GovernorTick | None:
    """The governor's last look, None before the first."""
    with reading() as session:
        return session.scalars(select(GovernorTick).order_by(GovernorTick.id.desc()).limit(1)).first()


def _previous() -> Assessment:
    """What the last look left; nothing when it was written by a release that counted otherwise."""
    try:
        return Assessment.model_validate_json(recall("assessment") or "{}")
    except ValidationError:
        return Assessment()
