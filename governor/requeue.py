"""Queue runs again, once, that ended through no fault of theirs: Prefect lost the lease of their deployment.

Prefect's engine renews a lease for each run of a deployment with a concurrency limit. After a suspend of
more than five minutes, or a restart of a server that keeps leases in memory, the renewal is refused, the
engine ends the flow by a cancel scope and reports Crashed with the message below. A signal, a timeout, a
person's cancel and an error of the flow all read otherwise; the lost lease of a `concurrency` block in the
flow, with `strict`, reads the same.

Left alone are runs that the worker reported Crashed since their process ended while the server was away:
it says `Process exited with status code: 1` then, as for every other process that ended with an error, and
no message of Prefect's names the server (`Request to URL failed` is never written for a flow run).
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry
from sqlalchemy import select

from governor.events import log_event
from governor.processes import Life, life
from governor.state.models import AgentRun
from governor.state.sessions import reading

# prefect/_internal/states.py, exception_to_crashed_state: for a CancelledError and nothing else.
LEASE_LOST = "Execution was cancelled by the runtime environment."
WHY = "hotdesk queued it again: Prefect had lost the lease of its deployment, the run itself did nothing wrong"
LOOK_BACK = timedelta(hours=24)
# The engine reports the crash, then its process ends: the worker takes a run again once it is over.
SETTLED = timedelta(seconds=10)
# The latest crashes of a day; a pool with more of them has another trouble.
MOST_RUNS = 200
HAD_ITS_TURN = (
    StateType.PENDING,
    StateType.RUNNING,
    StateType.CANCELLING,
    StateType.COMPLETED,
    StateType.FAILED,
    StateType.CRASHED,
)


def queue_again(client: SyncPrefectClient, pool: str, *, now: datetime) -> Iterator[str]:
    """Queue every run of our pool again that lost its lease within 24 h, once each: its second start is its last.

    Not while its deployment's places are all taken, since CANCEL_NEW would cancel it; and a run by schedule
    not when a later one had its turn, or when its deployment is paused.
    """
    for run in _crashed(client, pool, now):
        if not is_lost(run) or _still_ending(run):
            continue
        deployment = _deployment(client, run)
        if deployment is None or not _is_wanted(client, run, deployment):
            continue
        if client.read_flow_run(run.id).state_id != run.state_id:  # somebody was faster
            continue
        client.set_flow_run_state(run.id, AwaitingRetry(scheduled_time=now, message=WHY), force=True)
        log_event("queued_again", level=logging.WARNING, run=run.name, deployment=deployment.name)
        yield f"run {run.name} of {deployment.name} crashed because Prefect lost its lease; it is queued again, once"


def is_lost(run: FlowRun) -> bool:
    """Whether a run crashed by the loss of its lease, in its first start."""
    state = run.state
    return state is not None and state.is_crashed() and state.message == LEASE_LOST and run.run_count == 1


def _deployment(client: SyncPrefectClient, run: FlowRun) -> DeploymentResponse | None:
    """What the run is a run of; None where nothing could run it again."""
    if run.deployment_id is None:
        return None
    try:
        return client.read_deployment(run.deployment_id)
    except ObjectNotFound:
        return None


def _is_wanted(client: SyncPrefectClient, run: FlowRun, deployment: DeploymentResponse) -> bool:
    """Whether it would not be cancelled at once, and does what nobody else does."""
    limit = deployment.global_concurrency_limit
    if limit is not None and limit.active_slots >= limit.limit:
        return False
    return not run.auto_scheduled or not (deployment.paused or _has_successor(client, run, deployment.id))


def _has_successor(client: SyncPrefectClient, run: FlowRun, deployment_id: UUID) -> bool:
    later = FlowRunFilter(
        id=FlowRunFilterId(not_any_=[run.id]),
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=run.expected_start_time),
        state=_state(HAD_ITS_TURN),
    )
    return bool(client.read_flow_runs(flow_run_filter=later, limit=1))


def _state(types: tuple[StateType, ...]) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))


def _crashed(client: SyncPrefectClient, pool: str, now: datetime) -> list[FlowRun]:
    ended = FlowRunFilterEndTime.model_validate({"after_": now - LOOK_BACK, "before_": now - SETTLED})
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=_state((StateType.CRASHED,)), end_time=ended),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        sort=FlowRunSort.END_TIME_DESC,
        limit=MOST_RUNS,
    )


def _still_ending(run: FlowRun) -> bool:
    """Whether the process of the run still lives, perhaps at its desk."""
    with reading() as session:
        record = session.scalars(select(AgentRun).where(AgentRun.flow_run_id == str(run.id))).first()
    return record is not None and record.identity is not None and life(record.identity) is Life.ALIVE
