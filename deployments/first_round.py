"""The first round: every agent once, within small caps, so that a newcomer sees the whole fleet work.

Starts one flow run per agent and watches it to its end. What it came to is `deployments.summary`;
how a capped agent stays small is the agent frame's business.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from sqlalchemy import select

from deployments.summary import Outcome, State
from governor.events import log_event
from governor.state.models import AgentRun
from governor.state.sessions import reading, recall, remember

AGENT_TAG, SAMPLE_TAG, CAPPED_TAG = "agent", "sample", "capped"
DONE_KEY = "first_round_done"
# Agents whose answer is constrained to labels or a schema: the demo model is at its best there.
CONSTRAINED = ("triage", "extract")
# On 2 cores 8 agents take about 2 minutes; a quarter of an hour is a machine that is stuck.
ROUND_SECONDS = 900.0
POLL_SECONDS = 1.0
AGENT_STATES: dict[str, State] = {
    "written": "written",
    "could_not": "could_not",
    "skipped": "skipped",
    "failed": "failed",
}


@dataclass(frozen=True)
class Agent:
    """One deployment of the fleet that is an agent."""

    name: str
    deployment_id: UUID
    sample: bool


def is_due() -> bool:
    """Whether no first round was finished in this state folder."""
    return not recall(DONE_KEY)


def agents(client: SyncPrefectClient, pool: str) -> list[Agent]:
    """Every agent deployed to `pool`, constrained ones first."""
    wanted = DeploymentFilter(tags=DeploymentFilterTags(all_=[AGENT_TAG]))
    found = []
    for deployment in client.read_deployments(deployment_filter=wanted, limit=200):
        if deployment.work_pool_name == pool:
            flow = client.read_flow(deployment.flow_id)
            found.append(Agent(f"{flow.name}/{deployment.name}", deployment.id, SAMPLE_TAG in deployment.tags))
    return in_order(found)


def in_order(found: Iterable[Agent]) -> list[Agent]:
    """Constrained agents first, then by name."""
    return sorted(found, key=lambda agent: (agent.name.split("/")[0] not in CONSTRAINED, agent.name))


def run_round(
    client: SyncPrefectClient,
    fleet: Sequence[Agent],
    *,
    on_look: Callable[[], None],
    on_lost: Callable[[Outcome], None] = lambda _outcome: None,
    deadline_seconds: float = ROUND_SECONDS,
) -> list[Outcome]:
    """Start every agent and wait for all, at most `deadline_seconds`.

    Args:
        client: an open client.
        fleet: the agents, in the order of their starts.
        on_look: called at every look.
        on_lost: called once for a run that ended without a record of its own, which no snapshot shows.
        deadline_seconds: when the round ends at the latest.
    """
    runs = {agent.name: start(client, agent) for agent in fleet}
    displaced: set[str] = set()
    ended: dict[str, Outcome] = {}
    now: dict[UUID, FlowRun] = {}
    deadline = time.monotonic() + deadline_seconds
    while True:
        now = _read(client, list(runs.values()), now)
        for agent in fleet:
            run = now.get(runs[agent.name])
            if agent.name in ended or run is None or not _ended(run):
                continue
            if was_displaced(run) and agent.name not in displaced:
                displaced.add(agent.name)
                runs[agent.name] = start(client, agent)
                continue
            ended[agent.name] = outcome_of(agent.name, run)
            if not ended[agent.name].recorded:
                on_lost(ended[agent.name])
        on_look()
        if len(ended) == len(fleet) or time.monotonic() >= deadline:
            break
        time.sleep(POLL_SECONDS)
    return [ended.get(agent.name) or outcome_of(agent.name, now.get(runs[agent.name])) for agent in fleet]


def was_displaced(run: FlowRun) -> bool:
    """Whether Prefect cancelled it because a scheduled run of the same agent held its only place."""
    state = run.state
    return state is not None and state.type is StateType.CANCELLED and "concurrency limit" in (state.message or "")


def start(client: SyncPrefectClient, agent: Agent) -> UUID:
    """Create one capped run now; its id."""
    return client.create_flow_run_from_deployment(agent.deployment_id, tags=[CAPPED_TAG]).id


def _read(client: SyncPrefectClient, runs: Sequence[UUID], before: dict[UUID, FlowRun]) -> dict[UUID, FlowRun]:
    """The runs as the server has them; one unanswered look keeps the last one (a busy server is no failure)."""
    wanted = FlowRunFilter(id=FlowRunFilterId(any_=list(runs)))
    try:
        return {run.id: run for run in client.read_flow_runs(flow_run_filter=wanted, limit=200)}
    except httpx.HTTPError as error:
        log_event("look_unanswered", level=logging.WARNING, why=type(error).__name__)
        return before


def _ended(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


def outcome_of(name: str, run: FlowRun | None) -> Outcome:
    """How it ended, from Prefect's state and the agent's own record; where they disagree it failed."""
    if run is None or not _ended(run) or run.state is None:
        state_name = run.state.name if run and run.state else "unknown"
        return Outcome(name, "unfinished", message=f"still {state_name} when the round ended")
    with reading() as session:
        record = session.scalars(select(AgentRun).where(AgentRun.flow_run_id == str(run.id))).first()
    said = " ".join((run.state.message or "").split())
    if record is None:
        return Outcome(name, "failed", message=f"ended {run.state.name} without a record: {said}", recorded=False)
    state = AGENT_STATES.get(record.state, "failed") if run.state.type is StateType.COMPLETED else "failed"
    return Outcome(
        agent=name,
        state=state,
        calls_model=record.calls_model,
        calls_rules=record.calls_rules,
        line_seconds=record.line_seconds,
        desk_seconds=record.desk_seconds,
        output_path=record.output_path,
        message=record.message or said,
        ended_at=record.ended_at,
    )


def pause_samples(client: SyncPrefectClient, fleet: Sequence[Agent]) -> list[Agent]:
    """Pause the schedules of the sample agents; they still run on demand."""
    samples = [agent for agent in fleet if agent.sample]
    for agent in samples:
        client.pause_deployment(agent.deployment_id)
    return samples


def resume_advice(samples: Sequence[Agent]) -> list[str]:
    """What to tell a person whose sample schedules were just paused."""
    if not samples:
        return []
    example = samples[0]
    return [
        f"{len(samples)} sample agents are paused now; they still run on demand:"
        f" prefect deployment run '{example.name}'",
        "To put one on its schedule, switch it on under Deployments in the UI, or:"
        f" prefect api POST /deployments/{example.deployment_id}/resume_deployment",
    ]


def mark_done(now: datetime) -> None:
    """Remember that this state folder had its first round."""
    remember(DONE_KEY, now.isoformat())
