"""One look of the governor: read, assess, plan, record. The flow `govern` calls this; evicting is `evicting`."""

from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import select

from governor.admission import memory_budget_mib
from governor.events import log_event
from governor.policy.escalation import plan
from governor.policy.facts import Level, Reading, Rung
from governor.policy.pressure import Assessment, Mark, assess
from governor.policy.watermarks import Hours
from governor.resident_rows import held
from governor.sensors import gpu, host
from governor.state.models import GovernorTick, Setting
from governor.state.sessions import reading, recall, transaction
from governor.unloading import sweep

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
    """What an operator may set: marks, keep-alive (None: the profile's), how full by day and by night, dry run."""

    marks: tuple[Mark, ...] = DEFAULT_MARKS
    keep_alive_seconds: float | None = None
    hours: Hours = field(default_factory=Hours)
    dry_run: bool = False


def readings(now: datetime) -> list[Reading]:
    """All sensors, and what our own models take of what they may."""
    with reading() as session:
        models_mib = sum(model.memory_mib for model in held(session, now=now))
    budget_mib = memory_budget_mib()
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
    sweep(now=now, ask_engines=True, finish=not rules.dry_run)
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
