"""One look of the governor: read, assess, plan, act, record. The flows `govern` and `evict` call this."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from governor import residency
from governor.events import log_event
from governor.policy.escalation import keep_alive_seconds, plan
from governor.policy.facts import Level, Reading, Rung
from governor.policy.pressure import Assessment, Mark, assess
from governor.policy.residency import idle_to_evict
from governor.profile import current_profile
from governor.sensors import gpu, host
from governor.state.models import GovernorTick
from governor.state.sessions import reading, recall, remember, transaction

# Ollama loads only while what it needs stays under 80% of what is free; we act a little later and wait
# for a clear fall before standing down. Host: earlyoom acts at 10% available, we trim before that.
DEFAULT_MARKS = (
    Mark(reading="models_percent", high=90.0, low=75.0),
    Mark(reading="vram_used_percent", high=90.0, low=80.0),
    Mark(reading="host_available_percent", high=12.0, low=20.0, rising_is_bad=False),
)


@dataclass(frozen=True)
class Rules:
    """What an operator may set: marks, keep-alive (None: the profile's), dry run."""

    marks: tuple[Mark, ...] = DEFAULT_MARKS
    keep_alive_seconds: float | None = None
    dry_run: bool = False


def readings(now: datetime) -> list[Reading]:
    """All sensors, with the shares that the marks are written in."""
    found = [*gpu.read(), *host.read()]
    values = {r.name: r.value for r in found}
    total, free = values.get("vram_total_mib"), values.get("vram_free_mib")
    used = 100 * (1 - free / total) if total and free is not None else None
    with reading() as session:
        models_mib = sum(h.memory_mib for h in residency.held(session, now=now))
    share = 100 * models_mib / residency.memory_budget_mib()
    return [
        *found,
        Reading(name="vram_used_percent", value=used, unit="%", why="" if used is not None else "no NVIDIA GPU"),
        Reading(name="models_mib", value=models_mib, unit="MiB"),
        Reading(name="models_percent", value=share, unit="%"),
    ]


def tick(now: datetime, *, rules: Rules | None = None) -> GovernorTick:
    """Look once and move at most one rung. A dry run records what it would have done."""
    rules = rules or Rules()
    residency.sweep(now=now)
    seen = readings(now)
    assessment = assess(seen, rules.marks, _previous())
    causes = tuple(name for name, level in assessment.levels.items() if level is Level.HIGH)
    step = plan(assessment.worst, current_rung(), causes=causes)
    actions = [f"rung -> {step.rung}"] if step.changed else []
    if step.changed and not rules.dry_run:
        remember("rung", step.rung.value)
    remember("assessment", assessment.model_dump_json())
    row = GovernorTick(
        at=now,
        rung=step.rung.value,
        pressure=assessment.worst.value,
        dry_run=rules.dry_run,
        readings={r.name: (r.value if r.value is not None else f"unknown: {r.why}") for r in seen},
        actions=list(actions),
        reason=step.reason,
    )
    with transaction() as session:
        session.add(row)
    log_event("governed", tier=step.rung.value, pressure=assessment.worst.value, why=step.reason)
    return row


def evict_idle(now: datetime, *, rules: Rules | None = None) -> list[str]:
    """Evict what has been idle for too long on the present rung; what was done, in words."""
    rules = rules or Rules()
    residency.sweep(now=now)
    normal = rules.keep_alive_seconds or current_profile().keep_alive_seconds
    with reading() as session:
        inside = residency.held(session, now=now)
    named = {h.resident_id: f"{h.model} at {h.context_tokens} tokens ({h.memory_mib:.0f} MiB)" for h in inside}
    done = []
    for resident_id, why in idle_to_evict(inside, keep_alive_seconds=keep_alive_seconds(current_rung(), normal)):
        if rules.dry_run:
            done.append(f"would evict {named[resident_id]}: {why}")
        elif residency.unload_idle(resident_id, reason=why):
            done.append(f"evicted {named[resident_id]}: {why}")
    return done


def current_rung() -> Rung:
    """The rung of this state folder."""
    return Rung(recall("rung", Rung.NORMAL.value))


def last_tick() -> GovernorTick | None:
    """The governor's last look, None before the first."""
    with reading() as session:
        return session.scalars(select(GovernorTick).order_by(GovernorTick.id.desc()).limit(1)).first()


def _previous() -> Assessment:
    stored = recall("assessment")
    return Assessment.model_validate_json(stored) if stored else Assessment()
