"""Which models will be used next: from the foretold runs, the tickets in line and what each agent used last.

The flows bring the runs that Prefect has scheduled (`keep`); everybody else reads what they left in the database.
Whether the schedule is believed is `policy.trust`'s to say, what follows from it `policy.forecast`'s.
"""

from collections.abc import Container, Iterable
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from governor import footprints
from governor.memory import memory
from governor.policy import forecast, trust
from governor.policy.facts import ModelSpec, Use
from governor.policy.residency import Coming
from governor.rows import IN_LINE
from governor.state.models import Decision, Setting, Ticket
from governor.state.residents import ExpectedUse
from governor.state.sessions import reading, transaction

# Enough of the latest decisions to hold the last run of each of fifty agents.
DECISIONS = 3000
# A run takes its ticket after it started, read and fetched; the same run is not expected once more.
CAME_BEFORE = timedelta(minutes=1)


def keep(runs: Iterable[tuple[str, datetime]], *, now: datetime) -> int:
    """Remember what the schedule says, instead of what it said before; how many uses of a model that makes.

    Args:
        runs: (agent, expected start) of every run that Prefect has scheduled. An agent that has not used a model
            yet foretells nothing.
    """
    with reading() as session:
        models = _last_models(session)
    uses = [ExpectedUse(at=at, agent=agent, model=m) for agent, at in runs for m in models.get(agent, ())]
    with transaction() as session:
        session.execute(delete(ExpectedUse))
        session.add_all(uses)
        session.merge(Setting(key="looked_ahead_at", value=now.isoformat()))
    return len(uses)


def uses_ahead(session: Session, *, now: datetime) -> list[Use]:
    """The foretold uses that are still to come: what an agent took a ticket for is not expected once more."""
    wanted = select(ExpectedUse.agent, ExpectedUse.model, ExpectedUse.at).where(ExpectedUse.at >= now - forecast.GRACE)
    rows = session.execute(wanted.order_by(ExpectedUse.at, ExpectedUse.id)).all()
    if not rows:
        return []
    latest = _latest_tickets(session, since=rows[0].at - CAME_BEFORE)
    return [
        Use(model=row.model, at=row.at)
        for row in rows
        if (row.agent, row.model) not in latest or latest[row.agent, row.model] < row.at - CAME_BEFORE
    ]


def _latest_tickets(session: Session, *, since: datetime) -> dict[tuple[str, str], datetime]:
    """By agent and model, when the latest ticket was taken; of those since then, among thousands that are kept."""
    taken = select(Ticket.agent, Ticket.model, func.max(Ticket.taken_at)).where(Ticket.taken_at >= since)
    return {(agent, model): at for agent, model, at in session.execute(taken.group_by(Ticket.agent, Ticket.model))}


def next_uses(session: Session, *, now: datetime) -> dict[str, datetime]:
    """By model, when it is used next: now for those that tickets in line wait for."""
    by_model: dict[str, list[Use]] = {}
    for use in uses_ahead(session, now=now):
        by_model.setdefault(use.model, []).append(use)
    times = {model: forecast.next_use(uses, model, now) for model, uses in by_model.items()}
    found = {model: at for model, at in times.items() if at is not None}
    return found | dict.fromkeys(_waiting(session), now)


def coming_for(spec: ModelSpec, *, now: datetime) -> Coming:
    """The uses ahead in the memory of `spec`, as far as they are believed: those in line always."""
    sizes = footprints.sizes([memory(spec.memory).place])
    with reading() as session:
        waiting = _waiting(session, sizes)
        uses = uses_ahead(session, now=now) if trust.trusts_schedule(recalled(session, spec.memory)) else []
    return Coming(models=forecast.coming(_known(uses, sizes), waiting, now), sizes=sizes)


def saw_use(spec: ModelSpec, *, now: datetime) -> None:
    """Remember whether the schedule foretold this use; one of a model that was never loaded here says nothing.

    Looks ahead before it begins to write: every agent comes by here, and the line waits for the same lock.
    """
    sizes = footprints.sizes([memory(spec.memory).place])
    if spec.model not in sizes:
        return
    with reading() as session:
        waiting = _waiting(session, sizes)
        ahead = forecast.coming(_known(uses_ahead(session, now=now), sizes), waiting, now)
    with transaction() as session:
        seen = trust.observe(recalled(session, spec.memory), spec.model, waiting=waiting, coming=ahead)
        session.merge(Setting(key=_key(spec.memory), value=seen.model_dump_json()))


def trust_in_words(memory_name: str) -> str:
    """Whether the schedule is believed for this memory, and why."""
    with reading() as session:
        seen = recalled(session, memory_name)
    if trust.trusts_schedule(seen):
        return f"{seen}: who is needed next leaves last"
    return f"{seen}: the longest idle leaves first"


def recalled(session: Session, memory_name: str) -> trust.Trust:
    """As the last use left it; a new one when another release wrote it."""
    kept = session.get(Setting, _key(memory_name))
    try:
        return trust.Trust.model_validate_json(kept.value) if kept else trust.Trust()
    except ValidationError:
        return trust.Trust()


def _key(memory_name: str) -> str:
    return f"trust:{memory_name}"


def _known(uses: Iterable[Use], sizes: Container[str]) -> list[Use]:
    """Those of models that were loaded in this memory before."""
    return [use for use in uses if use.model in sizes]


def _waiting(session: Session, known: Container[str] | None = None) -> list[str]:
    """Models of the tickets in line, in the order of their tickets; only known ones if that is given."""
    models = session.scalars(select(Ticket.model).where(Ticket.state.in_(IN_LINE)).order_by(Ticket.id))
    return [model for model in models if known is None or model in known]


def _last_models(session: Session) -> dict[str, list[str]]:
    """By agent, the models of its last run that asked one, in their order."""
    wanted = select(Decision.agent, Decision.flow_run_id, Decision.model).order_by(Decision.id.desc()).limit(DECISIONS)
    runs: dict[str, str | None] = {}
    models: dict[str, list[str]] = {}
    for agent, run, model in session.execute(wanted):
        if runs.setdefault(agent, run) == run:
            rest = [m for m in models.get(agent, []) if m != model]
            models[agent] = [model, *rest]  # the latest first: the model of the first call ends in front
    return models
