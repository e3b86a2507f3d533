"""Decision rows read back as what they tell of, requests with their calls in order, and forgotten when they are old.

The rows are written by `governor.decisions`; the words for a person are `blocks.why_line` and `deployments.why`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Table, delete, func, select
from sqlalchemy.orm import Session

from governor.state.models import AgentRun, Decision
from governor.state.sessions import store

VERIFIED = "verified"
# The words that a verdict quotes; an answer may repeat its prompt.
QUOTED = re.compile(r"(?<!\w)(?:'[^']*'|\"[^\"]*\")")
# Longer than anybody looks back: `hotdesk why` at a run of last month, the sensor of models' speed at 30 days.
KEEP = timedelta(days=90)
# Calls forgotten at once, in 50 ms (measured, at 2 kB a row): nobody waits longer for the lock.
PRUNE_MOST = 500
DECISION: Table = Decision.__table__  # type: ignore[assignment]  # declared as FromClause


@dataclass(frozen=True)
class Served:
    """One request and every call that was made for it, first to last; there is at least one."""

    calls: tuple[Decision, ...]

    @property
    def first(self) -> Decision:
        """The call to the model that was chosen."""
        return self.calls[0]

    @property
    def last(self) -> Decision:
        """The call after which nobody was asked any more: what it says of its answer holds for the request."""
        return self.calls[-1]

    @property
    def at_first(self) -> bool:
        """Whether it passed without a call that did not: no retry, no larger model."""
        return all(call.verdict == VERIFIED for call in self.calls)

    @property
    def verified(self) -> bool:
        """Whether the answer that was handed on passed its checks."""
        return self.last.verdict == VERIFIED


@dataclass(frozen=True)
class Cost:
    """What calls took together.

    Attributes:
        line_seconds: a seat's wait stands in the row of every call at that seat, and counts once.
        joules: of those that were measured, None when none was.
        usd: at list price, of the `priced` among the `calls`, None when there are none.
    """

    tokens_in: int
    tokens_out: int
    line_seconds: float
    work_seconds: float
    joules: float | None
    usd: float | None
    priced: int
    calls: int


def requests_of(rows: Sequence[Decision]) -> list[Served]:
    """The requests behind the rows, in the order of their first calls. Rows before 0.5.0 are a request each."""
    by_request: dict[str, list[Decision]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        by_request.setdefault(row.request_id or f"row {row.id}", []).append(row)
    return [Served(tuple(sorted(calls, key=lambda call: call.attempt))) for calls in by_request.values()]


def cost_of(rows: Sequence[Decision]) -> Cost:
    """What these calls took together."""
    waits = {(row.tier, row.model, row.line_seconds) for row in rows}
    joules = [row.energy_joules for row in rows if row.energy_joules is not None]
    usd = [row.shadow_usd for row in rows if row.shadow_usd is not None]
    return Cost(
        tokens_in=sum(row.tokens_in for row in rows),
        tokens_out=sum(row.tokens_out for row in rows),
        line_seconds=sum(seconds for _, _, seconds in waits),
        work_seconds=sum(row.work_seconds for row in rows),
        joules=sum(joules) if joules else None,
        usd=sum(usd) if usd else None,
        priced=len(usd),
        calls=len(rows),
    )


def of_requests(session: Session, ids: Sequence[str]) -> list[Decision]:
    """The calls that were made for these requests, first to last."""
    return list(session.scalars(select(Decision).where(Decision.request_id.in_(ids)).order_by(Decision.id)))


def of_run(session: Session, run: AgentRun, *, since: datetime | None = None) -> list[Decision]:
    """The calls of one run of an agent, first to last.

    Args:
        since: only those from then on: a run that Prefect queued again after a crash keeps its id.
    """
    wanted = select(Decision).order_by(Decision.id)
    if run.flow_run_id:
        wanted = wanted.where(Decision.flow_run_id == run.flow_run_id)
    else:  # by hand, outside Prefect: nothing but agent and time tell whose they are
        wanted = wanted.where(
            Decision.flow_run_id.is_(None), Decision.agent == run.agent, Decision.at >= run.started_at
        )
        wanted = wanted if run.ended_at is None else wanted.where(Decision.at <= run.ended_at)
    return list(session.scalars(wanted if since is None else wanted.where(Decision.at >= since)))


def prune(now: datetime) -> int:
    """Forget some of the calls that are older than `KEEP`; how many. When there are none, nothing is written.

    Raises:
        StateUnavailable: the database cannot be used now.
    """
    before = now - KEEP
    with store().look() as db:
        if _newest_old_id(db, before) is None:
            return 0
    with store().change("prune_decisions") as db:
        newest = _newest_old_id(db, before)
        if newest is None:
            return 0
        return db.execute(delete(DECISION).where(DECISION.c.id <= newest, DECISION.c.at < before)).rowcount


def _newest_old_id(db: Connection, before: datetime) -> int | None:
    """Of the oldest calls. Ids grow with time, so they are found without an index of times."""
    oldest = select(DECISION.c.id, DECISION.c.at).order_by(DECISION.c.id).limit(PRUNE_MOST).subquery()
    return db.execute(select(func.max(oldest.c.id)).where(oldest.c.at < before)).scalar()
