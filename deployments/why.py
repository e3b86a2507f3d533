"""`hotdesk why`: finds the run that is meant, and reads what was decided in it. Needs the state folder only.

The server is asked for one thing, the name that Prefect gave a run, and only when nothing here has it.
How it looks is `deployments.why_view`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy import select
from sqlalchemy.orm import Session

from blocks.why_line import one_line
from governor.decided import Served, of_run, requests_of
from governor.errors import BadInput, HotdeskError
from governor.settings import home
from governor.state.models import AgentRun, Decision
from governor.state.sessions import reading

LAST = "last"
# The beginning of a flow run's id: what a person copies from `hotdesk status` or a log.
ID = re.compile(r"[0-9a-f][0-9a-f-]{2,35}")
SHOWN_RUNS = 5
SHORT_ID = 8
CALL_FIELDS = (
    *("at", "attempt", "tier", "engine", "model", "line", "reason", "verdict", "tokens_in", "tokens_out"),
    *("line_seconds", "work_seconds", "first_token_seconds", "energy_joules", "shadow_usd"),
)
REQUEST_FIELDS = ("request_id", "kind", "privacy", "quality", "due_at", "candidates", "refusals")

IdsByName = Callable[[str], list[str]]


@dataclass(frozen=True)
class Told:
    """A run as its records tell it. `state` is '' for a request that no agent's run made, as `hotdesk ask` does."""

    agent: str
    flow_run_id: str | None
    state: str
    message: str | None
    output_path: str | None
    started_at: datetime
    ended_at: datetime | None
    requests: tuple[Served, ...]

    @property
    def rows(self) -> list[Decision]:
        """Every call of it."""
        return [call for served in self.requests for call in served.calls]


def run_why(wanted: str, *, as_json: bool, every: bool, ids_by_name: IdsByName | None = None) -> str:
    """What to print about the run that `wanted` means.

    Args:
        wanted: `last`, a flow run's id or its beginning, an agent, or the name that Prefect gave the run.
        every: each request on its own, also those that went the same way.
        ids_by_name: asks the server, for tests.

    Raises:
        BadInput: no run, or more than one, is meant by it.
    """
    told = find(wanted.strip(), ids_by_name or _ids_by_name)
    if as_json:
        return json.dumps(plain(told), default=str, indent=2)
    from deployments.why_view import told_lines

    return "\n".join(told_lines(told, every=every))


def find(wanted: str, ids_by_name: IdsByName) -> Told:
    """The run that is meant. Raises BadInput."""
    if not home().database.exists():
        raise BadInput(
            f"No run is on record in {home().root}.",
            means="Nothing was looked up.",
            remedy="Run `hotdesk up`, or point HOTDESK_HOME at the folder of the run.",
        )
    with reading() as session:
        told = _latest(session) if wanted == LAST else _by_agent(session, wanted) or _by_id(session, wanted)
        if told is not None:
            return told
    for flow_run_id in ids_by_name(wanted) if wanted and wanted != LAST else ():
        with reading() as session:
            told = _of_id(session, flow_run_id)
        if told is not None:
            return told
    raise _unknown(wanted)


def plain(told: Told) -> dict[str, Any]:
    """The run for programs: the columns of its rows, requests with their attempts."""
    return {
        "agent": told.agent,
        "flow_run_id": told.flow_run_id,
        "state": told.state,
        "message": told.message,
        "output_path": told.output_path,
        "started_at": _iso(told.started_at),
        "ended_at": _iso(told.ended_at),
        "line": one_line(told.rows),
        "requests": [
            {name: _iso(getattr(served.first, name)) for name in REQUEST_FIELDS}
            | {"verified": served.verified}
            | {"attempts": [{name: _iso(getattr(call, name)) for name in CALL_FIELDS} for call in served.calls]}
            for served in told.requests
        ],
    }


def _latest(session: Session) -> Told | None:
    """The run of the latest call; without any call, the latest run."""
    row = session.scalars(select(Decision).order_by(Decision.id.desc()).limit(1)).first()
    if row is not None:
        return _of_row(session, row)
    run = session.scalars(select(AgentRun).order_by(AgentRun.id.desc()).limit(1)).first()
    return None if run is None else _of_run(session, run)


def _by_agent(session: Session, agent: str) -> Told | None:
    run = session.scalars(select(AgentRun).where(AgentRun.agent == agent).order_by(AgentRun.id.desc()).limit(1)).first()
    if run is not None:
        return _of_run(session, run)
    row = session.scalars(select(Decision).where(Decision.agent == agent).order_by(Decision.id.desc()).limit(1)).first()
    return None if row is None else _of_row(session, row)


def _by_id(session: Session, beginning: str) -> Told | None:
    """Raises BadInput when several runs begin like that."""
    beginning = beginning.lower()
    if not ID.fullmatch(beginning):
        return None
    found = {
        flow_run_id
        for column in (AgentRun.flow_run_id, Decision.flow_run_id)
        for flow_run_id in session.scalars(select(column).where(column.startswith(beginning, autoescape=True)))
        if flow_run_id
    }
    if len(found) > 1:
        raise BadInput(
            f"{len(found)} runs have an id that begins with {beginning}.",
            means="Nothing was looked up.",
            remedy=f"Give more of it: {', '.join(sorted(found)[:SHOWN_RUNS])}.",
        )
    return _of_id(session, found.pop()) if found else None


def _of_id(session: Session, flow_run_id: str) -> Told | None:
    run = session.scalars(select(AgentRun).where(AgentRun.flow_run_id == flow_run_id)).first()
    if run is not None:
        return _of_run(session, run)
    rows = session.scalars(select(Decision).where(Decision.flow_run_id == flow_run_id).order_by(Decision.id)).all()
    return _told(list(rows)) if rows else None


def _of_row(session: Session, row: Decision) -> Told:
    """The run that this call belongs to."""
    if row.flow_run_id:
        return _of_id(session, row.flow_run_id) or _told([row])
    by_hand = select(AgentRun).where(
        AgentRun.flow_run_id.is_(None), AgentRun.agent == row.agent, AgentRun.started_at <= row.at
    )
    run = session.scalars(by_hand.order_by(AgentRun.id.desc()).limit(1)).first()
    if run is not None:
        return _of_run(session, run)
    if not row.request_id:
        return _told([row])
    same = select(Decision).where(Decision.request_id == row.request_id).order_by(Decision.id)
    return _told(list(session.scalars(same)))


def _of_run(session: Session, run: AgentRun) -> Told:
    return Told(
        agent=run.agent,
        flow_run_id=run.flow_run_id,
        state=run.state,
        message=run.message,
        output_path=run.output_path,
        started_at=run.started_at,
        ended_at=run.ended_at,
        requests=tuple(requests_of(of_run(session, run))),
    )


def _told(rows: list[Decision]) -> Told:
    """Calls without a run's row: `hotdesk ask`, or a run whose row is gone."""
    first, last = rows[0], rows[-1]
    return Told(first.agent, first.flow_run_id, "", None, None, first.at, last.at, tuple(requests_of(rows)))


def _ids_by_name(name: str) -> list[str]:
    """Ids of the runs that Prefect calls so, latest first; none when the server does not answer."""
    from deployments.environment import client_environment
    from deployments.server import answers

    found = client_environment(home())
    if not answers(found["PREFECT_API_URL"]):
        return []
    return _asked(name)


def _asked(name: str) -> list[str]:
    from deployments.environment import apply_client_environment

    apply_client_environment(home())
    from prefect.client.orchestration import get_client  # reads the environment
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.exceptions import PrefectException

    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(
                flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])),
                sort=FlowRunSort.EXPECTED_START_TIME_DESC,
                limit=SHOWN_RUNS,
            )
    except (httpx.HTTPError, PrefectException, HotdeskError):
        return []  # what the server does not tell is unknown here
    return [str(run.id) for run in runs]


def _unknown(wanted: str) -> BadInput:
    """With the latest runs that are on record."""
    with reading() as session:
        runs = session.scalars(select(AgentRun).order_by(AgentRun.id.desc()).limit(SHOWN_RUNS)).all()
    known = ", ".join(f"{(run.flow_run_id or 'by hand')[:SHORT_ID]} ({run.agent})" for run in runs)
    return BadInput(
        f"No run is meant by {wanted!r}." if wanted != LAST else "No run is on record yet.",
        means="Nothing was looked up.",
        remedy=f"The latest are {known}; `{LAST}` is the latest of all." if known else "Run `hotdesk up`.",
        runs=[run.flow_run_id for run in runs],
    )


def _iso(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
