"""Flow runs that the server still takes for alive although their process is gone.

A run that was cut off (Ctrl-C, kill, power) stays Pending or Running on the server for good and holds
its deployment's only place, so that its agent never runs again. Only runs proven dead are closed.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Cancelled, Crashed
from sqlalchemy import select

from deployments.bootstrap_names import POOL
from deployments.first_round import CAPPED_TAG
from deployments.run_process import is_gone
from governor.processes import Life, life
from governor.state.models import AgentRun
from governor.state.sessions import reading
from governor.stuck import UNDER_WAY

# A worker names the process of a run within seconds; a run without one for so long has none.
SUBMITTED_WITHIN_SECONDS = 60.0
CLOSED = "hotdesk stopped while it ran; it runs again at its next time"


def close_leftovers(client: SyncPrefectClient, *, workers_stopped: bool) -> int:
    """Mark dead runs Crashed and unstarted runs of a first round Cancelled; how many there were.

    Args:
        client: an open client of the server in use.
        workers_stopped: our workers were just ended, so a run without a process cannot get one.
    """
    wait = timedelta(0) if workers_stopped else timedelta(seconds=SUBMITTED_WITHIN_SECONDS)
    submitted_before = datetime.now(UTC) - wait
    dead = [run for run in _runs(client, UNDER_WAY) if is_dead(run, submitted_before)]
    if not workers_stopped:  # the worker that comes begins again what was taken and never begun (`orphans`)
        dead = [run for run in dead if run.infrastructure_pid or run.state_type != StateType.PENDING]
    for run in dead:
        client.set_flow_run_state(run.id, Crashed(message=CLOSED), force=True)
    unstarted = [run for run in _runs(client, (StateType.SCHEDULED,)) if CAPPED_TAG in run.tags]
    for run in unstarted:
        client.set_flow_run_state(run.id, Cancelled(message="the first round was stopped"), force=True)
    return len(dead) + len(unstarted)


def is_dead(run: FlowRun, submitted_before: datetime) -> bool:
    """Whether the process of this run is proven gone; on another host it never is."""
    with reading() as session:
        record = session.scalars(select(AgentRun).where(AgentRun.flow_run_id == str(run.id))).first()
    if record is not None and record.identity is not None:
        return life(record.identity) is Life.DEAD
    if run.infrastructure_pid:
        return is_gone(run.infrastructure_pid)
    changed = run.state.timestamp if run.state else submitted_before
    return changed <= submitted_before


def _runs(client: SyncPrefectClient, types: Iterable[StateType]) -> list[FlowRun]:
    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    return client.read_flow_runs(flow_run_filter=wanted, work_pool_filter=pool, limit=200)
