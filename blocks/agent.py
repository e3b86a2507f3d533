"""The frame of an agent's run: it is on record from its first line, and every way out leaves a state and a reason.

    with agent(parameters) as run:
        items = run.take(...); answers = run.ask_all([...]); run.write(title, markdown)
    return run.state

What the agent reads and says is its flow file; the desk is never mentioned there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException
from prefect.runtime import deployment, flow_run
from sqlalchemy import select

from blocks.lateness import Times, is_late, missed
from blocks.parameters import AgentParameters
from blocks.run import CouldNot, Run
from governor.errors import DoesNotFit, LeftLine, NoRoute, SeatLost, TierShut, TooLate
from governor.events import log_event
from governor.processes import identify
from governor.state.models import AgentRun
from governor.state.sessions import reading, transaction

__all__ = ["CouldNot", "Run", "agent", "agent_name"]

# States of a run after which nothing of its time is left to do.
DID_ITS_WORK = ("written", "could_not")
CAPPED_TAG, SAMPLE_TAG, BY_SCHEDULE_TAG = "capped", "sample", "auto-scheduled"


@contextmanager
def agent(parameters: AgentParameters) -> Iterator[Run]:
    """Record a run from its first line to its end; every way out leaves a state and a reason."""
    run = _begin(set(flow_run.tags or []), parameters)
    try:
        yield run
    except NoRoute as error:
        run.failed(error.happened)
        raise
    except (LeftLine, DoesNotFit, SeatLost, TierShut, TooLate) as error:  # not now, through no fault of its own
        run.skipped(error, _next_run())
    except CouldNot as error:
        run.could_not(error)
    except BaseException as error:
        run.failed(f"{type(error).__name__}: {error}")
        raise


def agent_name() -> str:
    """`flow/deployment`, as in `prefect deployment run`; a run by hand is `flow/by-hand`."""
    flow_name = (flow_run.flow_name or "agent").replace("_", "-")
    return f"{flow_name}/{deployment.name or 'by-hand'}"


def _begin(tags: set[str], parameters: AgentParameters) -> Run:
    flow_run_id = flow_run.id
    record = AgentRun(
        flow_run_id=str(flow_run_id) if flow_run_id else None,
        agent=agent_name(),
        capped=CAPPED_TAG in tags,
        sample=SAMPLE_TAG in tags,
        started_at=datetime.now(UTC),
    )
    record.identity = identify()
    with transaction() as session:
        # A run that Prefect queued again after a crash keeps one row: its last attempt.
        if flow_run_id:
            session.query(AgentRun).filter(AgentRun.flow_run_id == str(flow_run_id)).delete()
        session.add(record)
    log_event("agent_started", holder=record.agent, capped=record.capped)
    return _run_of(record, parameters, by_schedule=BY_SCHEDULE_TAG in tags)


def _run_of(record: AgentRun, parameters: AgentParameters, *, by_schedule: bool) -> Run:
    # The runs of a first round are all wanted at once and wait for each other; they are not late.
    expected = None if record.capped else flow_run.scheduled_start_time
    run = Run(
        record.agent,
        record.id,
        record.flow_run_id,
        record.capped,
        parameters,
        expected_at=expected or record.started_at,
        # Patience counts from the expected start.
        late_seconds=max(0.0, (record.started_at - expected).total_seconds()) if expected else 0.0,
    )
    window = timedelta(minutes=parameters.window_minutes)
    if expected and by_schedule and is_late(Times(started_at=record.started_at, expected_at=expected), window):
        done_at = done_since(record.agent, expected, by_another_than=record.id)
        times = Times(started_at=record.started_at, expected_at=expected, done_at=done_at)
        run.too_late = missed(times, parameters.late, window=window)
        run.expected_at = max(expected, _latest(record.started_at) or expected)
        run.late_seconds = (record.started_at - run.expected_at).total_seconds()
    return run


def done_since(agent_name: str, expected: datetime, *, by_another_than: int) -> datetime | None:
    """When a whole run of that agent began after `expected` that did its work; None: none did."""
    done = select(AgentRun.started_at).where(
        AgentRun.agent == agent_name,
        AgentRun.started_at >= expected,
        AgentRun.state.in_(DID_ITS_WORK),
        AgentRun.capped.is_(False),
        AgentRun.id != by_another_than,
    )
    with reading() as session:
        return session.scalars(done.order_by(AgentRun.started_at.desc()).limit(1)).first()


def _latest(now: datetime) -> datetime | None:
    """The latest scheduled time of this deployment that has come, whatever became of its run."""
    runs = _runs(FlowRunSort.EXPECTED_START_TIME_DESC, before=now)
    return runs[0].expected_start_time if runs else None


def _next_run() -> datetime | None:
    """When the server will run this deployment again, None when it does not say."""
    runs = _runs(FlowRunSort.EXPECTED_START_TIME_ASC, state=StateType.SCHEDULED)
    return runs[0].expected_start_time.astimezone(UTC) if runs and runs[0].expected_start_time else None


def _runs(sort: FlowRunSort, *, state: StateType | None = None, before: datetime | None = None) -> list[FlowRun]:
    """The first run of this deployment in that order; none where the server does not answer."""
    if not deployment.id:
        return []
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[UUID(str(deployment.id))]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])) if state else None,
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": before}) if before else None,
        tags=FlowRunFilterTags(all_=[BY_SCHEDULE_TAG]) if before else None,
    )
    try:
        with _client() as client:
            return client.read_flow_runs(flow_run_filter=wanted, sort=sort, limit=1)
    except (httpx.HTTPError, PrefectException):
        return []  # what the run came to is what matters; its message says less


def _client() -> SyncPrefectClient:
    return get_client(sync_client=True)
