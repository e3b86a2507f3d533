"""The first round: every agent once, within small caps, so that a newcomer sees the whole fleet work.

Starts one flow run per agent and watches it to its end. What it came to is `deployments.summary`;
how a capped agent stays small is the agent frame's business.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from sqlalchemy import select

from deployments.round_agents import PAGE, Agent, waves
from deployments.summary import Outcome, State
from governor.decided import of_run, requests_of
from governor.events import log_event
from governor.state.models import AgentRun
from governor.state.sessions import reading, recall, remember

CAPPED_TAG = "capped"
DONE_KEY = "first_round_done"
# On 2 cores fifty agents should take ten minutes, 12 s each. That two and a half times, and ten minutes for what
# is slow once (a first load, a busy machine): longer than that is a machine that is stuck.
SECONDS_FOR_ALL, SECONDS_EACH = 600.0, 30.0
POLL_SECONDS = 1.0
AGENT_STATES: dict[str, State] = {
    "written": "written",
    "could_not": "could_not",
    "skipped": "skipped",
    "failed": "failed",
}


@dataclass(frozen=True)
class Watch:
    """Who looks on. `on_look` is called at every look, `on_lost` once for a run without a record of its own."""

    on_look: Callable[[], None]
    on_lost: Callable[[Outcome], None] = lambda _outcome: None


def is_due() -> bool:
    """Whether no first round was finished in this state folder."""
    return not recall(DONE_KEY)


def round_seconds(agents: int) -> float:
    """When a round of so many agents ends at the latest."""
    return SECONDS_FOR_ALL + SECONDS_EACH * agents


def run_round(
    client: SyncPrefectClient,
    fleet: Sequence[Agent],
    watch: Watch,
    *,
    seconds_for: Callable[[int], float] = round_seconds,
) -> list[Outcome]:
    """Start every agent and wait for all; those that read what others wrote start when the others ended.

    Args:
        client: an open client.
        fleet: the agents, in the order of their starts.
        seconds_for: how long a round of so many agents may take; each wave ends at the latest when a round of all
            agents so far would have to.
    """
    outcomes, begun_s = list[Outcome](), time.monotonic()
    for wave in waves(fleet):
        ends_s = begun_s + seconds_for(len(outcomes) + len(wave))
        outcomes += _run_wave(client, wave, watch, ends_s)
    return outcomes


def _run_wave(client: SyncPrefectClient, fleet: Sequence[Agent], watch: Watch, ends_s: float) -> list[Outcome]:
    """These at once; `ends_s`: on the monotonic clock, when nobody is waited for any more."""
    runs = {agent.name: start(client, agent) for agent in fleet}
    displaced: set[str] = set()
    ended: dict[str, Outcome] = {}
    now: dict[UUID, FlowRun] = {}
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
                watch.on_lost(ended[agent.name])
        watch.on_look()
        if len(ended) == len(fleet) or time.monotonic() >= ends_s:
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
    parts = [list(runs[at : at + PAGE]) for at in range(0, len(runs), PAGE)]
    pages = [FlowRunFilter(id=FlowRunFilterId(any_=part)) for part in parts]
    try:
        return {run.id: run for page in pages for run in client.read_flow_runs(flow_run_filter=page, limit=PAGE)}
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
        # A run that Prefect queued again after a crash keeps its id: the calls of its last attempt count.
        served = requests_of(of_run(session, record, since=record.started_at)) if record else []
    at_first = sum(one.at_first for one in served)
    crashed = run.state.type is StateType.CRASHED
    said = " ".join((run.state.message or "").split())
    if record is None:
        message = f"ended {run.state.name} without a record: {said}"
        return Outcome(name, "failed", message=message, recorded=False, crashed=crashed)
    state = AGENT_STATES.get(record.state, "failed") if run.state.type is StateType.COMPLETED else "failed"
    return Outcome(
        agent=name,
        state=state,
        calls_model=record.calls_model,
        calls_rules=record.calls_rules,
        calls_remembered=record.calls_remembered,
        calls_first=at_first,
        calls_later=sum(one.verified for one in served) - at_first,
        line_seconds=record.line_seconds,
        desk_seconds=record.desk_seconds,
        output_path=record.output_path,
        message=record.message or said,
        ended_at=record.ended_at,
        crashed=crashed,
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
        f"To put one to work on your own data: hotdesk use {example.name} --source PATH"
        " (hotdesk use --list shows all).",
    ]


def mark_done(now: datetime) -> None:
    """Remember that this state folder had its first round."""
    remember(DONE_KEY, now.isoformat())
