"""What agents did, from their rows in the state database, for whoever reports on it. Only reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from governor.state.models import AgentRun
from governor.state.sessions import reading

# A fleet of fifty makes about 75 runs a day; a week of them, and one that runs by hand a lot.
MOST_RUNS = 5000


@dataclass(frozen=True)
class RunRecord:
    """One run. `state` as in `AgentRun`; `verified` and `by_rules` count its calls."""

    agent: str
    run: str
    state: str
    message: str
    started_at: datetime
    ended_at: datetime | None
    line_seconds: float
    desk_seconds: float
    verified: int
    by_rules: int
    remembered: int
    capped: bool


def runs_between(begin: datetime, end: datetime, *, without: str = "") -> list[RunRecord]:
    """Runs that started in this span, oldest first. `without`: leaves out this agent, which is the one who asks."""
    wanted = (
        select(AgentRun)
        .where(AgentRun.started_at >= begin, AgentRun.started_at < end, AgentRun.agent != without)
        .order_by(AgentRun.id.desc())
        .limit(MOST_RUNS)
    )
    with reading() as session:
        return [_record(row) for row in reversed(session.scalars(wanted).all())]


def agents_seen() -> Sequence[str]:
    """Every agent that ever ran here, by name."""
    with reading() as session:
        return session.scalars(select(AgentRun.agent).distinct().order_by(AgentRun.agent)).all()


def _record(row: AgentRun) -> RunRecord:
    return RunRecord(
        agent=row.agent,
        run=row.flow_run_id or "by-hand",
        state=row.state,
        message=row.message or "",
        started_at=row.started_at,
        ended_at=row.ended_at,
        line_seconds=row.line_seconds,
        desk_seconds=row.desk_seconds,
        verified=row.calls_model,
        by_rules=row.calls_rules,
        remembered=row.calls_remembered,
        capped=row.capped,
    )
