"""What the router may know: the profile, the lines, pauses, the residents and the rung, read from the database.

The decision itself is pure and stands in `policy.routing`.
"""

import statistics
from datetime import datetime

from sqlalchemy import func, select

from governor.pause_rows import in_force
from governor.policy.pausing import in_words
from governor.policy.routing import RoutingFacts, RoutingRules
from governor.profile import current_profile
from governor.resident_rows import held
from governor.rows import IDLE_SLOT, IN_LINE
from governor.standing import current_rung
from governor.state.models import Slot, Ticket
from governor.state.sessions import reading

# Until a line has a history: seconds one seat took on the 2-core machine in a first round.
FIRST_MEDIAN_SECONDS = 15.0
HISTORY = 50


def gather_facts(now: datetime, rules: RoutingRules | None = None) -> RoutingFacts:
    """What the router may know: the profile, the lines and their pauses, the residents, the governor's rung."""
    profile = current_profile()
    lines = {spec.line for spec in profile.tiers.values()}
    with reading() as session:
        rows = session.execute(
            select(Ticket.line, func.count()).where(Ticket.state.in_(IN_LINE)).group_by(Ticket.line)
        ).all()
        seated = session.execute(
            select(Slot.line, func.count()).where(Slot.state.not_in(IDLE_SLOT)).group_by(Slot.line)
        ).all()
        inside = held(session, now=now)
        pauses = in_force(session, now)
    waiting = dict.fromkeys(lines, 0)
    for name, count in (*rows, *seated):
        waiting[name] = waiting.get(name, 0) + count
    return RoutingFacts(
        profile=profile,
        waiting=waiting,
        median_seconds={name: _median_seat_seconds(name) for name in lines},
        residents=tuple(inside),
        rung=current_rung(),
        rules=rules or RoutingRules(),
        paused={
            pause.line: in_words(pause, now) for pause in reversed(pauses)
        },  # a person's counts before the governor's
        now=now,
    )


def _median_seat_seconds(name: str) -> float:
    """Median length of the last seats of a line."""
    with reading() as session:
        rows = session.execute(
            select(Ticket.seated_at, Ticket.ended_at)
            .where(Ticket.line == name, Ticket.state == "done", Ticket.seated_at.is_not(None))
            .order_by(Ticket.id.desc())
            .limit(HISTORY)
        ).all()
    spans = [(ended - seated).total_seconds() for seated, ended in rows if ended]
    return statistics.median(spans) if spans else FIRST_MEDIAN_SECONDS
