"""What the router may know: the profile, the lines, pauses, the residents, the rung, allowances and what was learned.

Read from the database at one moment; the decision itself is pure and stands in `policy.routing`.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from governor import learning, ledger, tier_states
from governor.accounts import CloudAccount
from governor.pause_rows import in_force
from governor.policy.pausing import in_words
from governor.policy.refusing import CloudFact, RoutingRules
from governor.policy.requests import OPENNESS, ModelRequest
from governor.policy.routing import RoutingFacts, Seated
from governor.profile import current_profile
from governor.resident_rows import held
from governor.rows import IN_LINE
from governor.standing import current_rung
from governor.state.models import Decision, Slot, Ticket
from governor.state.sessions import one_reading, reading

# The latest seats of a line and calls of all models: enough for medians, and no more than a day or two of a fleet.
SEATS, CALLS = 60, 300


@dataclass(frozen=True)
class Asker:
    """Who asks, what an operator lets it use, how many requests its batch has, and how long it waits in a line."""

    agent: str
    rules: RoutingRules = field(default_factory=RoutingRules)
    accounts: tuple[CloudAccount, ...] = ()
    calls: int = 1
    patience_seconds: float | None = None


def gather_facts(request: ModelRequest, asker: Asker, now: datetime, *, needed: int | None = None) -> RoutingFacts:
    """All of it, for this request. `needed`: the context it takes, where that was counted already."""
    profile = current_profile()
    lines = sorted({spec.line for spec in profile.tiers.values()})
    models = [*(spec.model for spec in profile.tiers.values()), *(account.model.name for account in asker.accounts)]
    with one_reading(), reading() as session:
        pauses = in_force(session, now)
        return RoutingFacts(
            profile=profile,
            ahead=_ahead(session, lines),
            seated=_seated(session, lines, now),
            median_seconds={key: value for line in lines for key, value in _medians(session, line).items()},
            call_seconds=_call_seconds(session),
            residents=tuple(held(session, now=now)),
            rung=current_rung(),
            rules=asker.rules,
            # A person's counts before the governor's.
            paused={pause.line: in_words(pause, now) for pause in reversed(pauses)},
            clouds=_clouds(session, asker, now) if asker.accounts else (),
            gains=learning.gains_for(request, asker.agent, models),
            calls=asker.calls,
            patience_seconds=asker.patience_seconds,
            counted_tokens=needed,
            draw=random.random(),
            now=now,
        )


def _ahead(session: Session, lines: list[str]) -> dict[str, tuple[str, ...]]:
    """By line, the model of every ticket in it."""
    ahead: dict[str, tuple[str, ...]] = {}
    waiting = select(Ticket.line, Ticket.model).where(Ticket.line.in_(lines), Ticket.state.in_(IN_LINE))
    for line, model in session.execute(waiting):
        ahead[line] = (*ahead.get(line, ()), model)
    return ahead


def _seated(session: Session, lines: list[str], now: datetime) -> dict[str, tuple[Seated, ...]]:
    """By line, who sits at its desk; an heir that was not seen to sit down is still in line."""
    seats = select(Slot.line, Ticket.model, Ticket.seated_at).join(Ticket, Ticket.id == Slot.ticket_id)
    found: dict[str, tuple[Seated, ...]] = {}
    for line, model, since in session.execute(seats.where(Slot.line.in_(lines), Ticket.state == "seated")):
        seconds = max(0.0, (now - since).total_seconds()) if since else 0.0
        found[line] = (*found.get(line, ()), Seated(model=model, seconds=seconds))
    return found


def _medians(session: Session, line: str) -> dict[str, float]:
    """Median length of the latest seats of a line, by `line/model` and for all of it; nothing without a history."""
    rows = session.execute(
        select(Ticket.model, Ticket.seated_at, Ticket.ended_at)
        .where(Ticket.line == line, Ticket.state == "done", Ticket.seated_at.is_not(None))
        .order_by(Ticket.id.desc())
        .limit(SEATS)
    ).all()
    spans: dict[str, list[float]] = {}
    for model, seated, ended in rows:
        if ended is not None:
            for key in (line, f"{line}/{model}"):
                spans.setdefault(key, []).append((ended - seated).total_seconds())
    return {key: statistics.median(seconds) for key, seconds in spans.items()}


def _call_seconds(session: Session) -> dict[str, float]:
    """Median length of the latest calls of each model."""
    rows = session.execute(select(Decision.model, Decision.work_seconds).order_by(Decision.id.desc()).limit(CALLS))
    spans: dict[str, list[float]] = {}
    for model, seconds in rows:
        spans.setdefault(model, []).append(seconds)
    return {model: statistics.median(seconds) for model, seconds in spans.items()}


def _clouds(session: Session, asker: Asker, now: datetime) -> tuple[CloudFact, ...]:
    models = [account.model for account in asker.accounts]
    left, closed = ledger.lefts(models, now), tier_states.closed(now, asker.accounts)
    spent = ledger.spent_usd_today(session, now)
    return tuple(
        CloudFact(
            model=model,
            left=left.get(model.name, ()),
            closed_until=closed[model.name].until if model.name in closed else None,
            closed_why=closed[model.name].why if model.name in closed else "",
            spent_usd=spent,
        )
        for model in models
    )


def strictest(requests: Sequence[ModelRequest]) -> ModelRequest:
    """One request that stands for a batch: the longest of them, as private and as soon due as any."""
    largest = max(requests, key=lambda r: len(r.text) + len(r.system or ""))
    return largest.model_copy(
        update={
            "privacy": min((r.allowed for r in requests), key=OPENNESS.index),
            "due_at": min((r.due_at for r in requests if r.due_at), default=None),
            "max_tokens": max(r.max_tokens for r in requests),
        }
    )
