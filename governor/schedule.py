"""What Prefect has scheduled: the runs of agents that are to come, as the server knows them.

The server keeps at least three runs of each deployment, and an hour of them, ready; what is paused or was
changed in the UI is right here and nowhere else. Who looks keeps it with `governor.forecasting`.
"""

from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

AGENT_TAG = "agent"
AHEAD = timedelta(hours=24)
# What one answer of the server holds at most (its PREFECT_API_DEFAULT_LIMIT); five of them are a day of fifty agents.
PAGE, MOST_PAGES = 200, 5


def scheduled_runs(client: SyncPrefectClient, *, now: datetime) -> list[tuple[str, datetime]]:
    """(agent, expected start) of the agents' runs within a day, the next first; late ones too.

    Raises:
        httpx.HTTPError: the server does not answer.
    """
    agents = DeploymentFilter(tags=DeploymentFilterTags(all_=[AGENT_TAG]))
    names = _names(client, agents)
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": now + AHEAD}),
    )
    found: list[tuple[str, datetime]] = []
    for page in range(MOST_PAGES):
        runs = client.read_flow_runs(
            flow_run_filter=wanted,
            deployment_filter=agents,
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=PAGE,
            offset=page * PAGE,
        )
        found += [
            (names[run.deployment_id], run.expected_start_time)
            for run in runs
            if run.deployment_id in names and run.expected_start_time is not None
        ]
        if len(runs) < PAGE:
            break
    return found


def _names(client: SyncPrefectClient, agents: DeploymentFilter) -> dict[UUID | None, str]:
    """Names of the agents (`flow/deployment`, as their tickets have them) by the id of their deployment."""
    deployments = client.read_deployments(deployment_filter=agents, limit=PAGE)
    ids = list({deployment.flow_id for deployment in deployments})
    flows = client.read_flows(flow_filter=FlowFilter(id=FlowFilterId(any_=ids)), limit=PAGE) if ids else []
    flow_names = {flow.id: flow.name for flow in flows}
    return {d.id: f"{flow_names[d.flow_id]}/{d.name}" for d in deployments if d.flow_id in flow_names}
