"""The frame of an agent's run: caps, asks, outputs, and an honest end state.

    with agent(parameters) as run:
        ...read; answers = run.ask_all([...]); run.write(title, markdown)
    return run.state

What the agent reads and says is its flow file; the desk is never mentioned there.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import PrefectException
from prefect.runtime import deployment, flow_run
from prefect.states import Completed

from blocks.parameters import AgentParameters
from blocks.router import current_router
from blocks.why_line import line_of_run
from blocks.writing import write_output
from governor.answers import Answer
from governor.errors import DoesNotFit, HotdeskError, LeftLine, NoRoute, SeatLost, TierShut
from governor.events import log_event
from governor.policy.requests import ModelRequest, stricter
from governor.processes import identify
from governor.profile import current_profile
from governor.state.models import AgentRun
from governor.state.sessions import transaction

CAPPED_TAG, SAMPLE_TAG = "capped", "sample"
# A run that started later than its whole patience still gets one look at the line.
LEAST_PATIENCE_SECONDS = 5.0


class CouldNot(Exception):
    """The agent has nothing that passed its checks; `facts` is what it did gather."""

    def __init__(self, why: str, *, facts: str = "") -> None:
        super().__init__(why)
        self.facts = facts


@dataclass
class Run:
    """One run of one agent. `max_items` and `max_tokens` are the caps in force."""

    agent: str
    record_id: int
    flow_run_id: str | None
    capped: bool
    parameters: AgentParameters
    due_at: datetime | None = None
    late_seconds: float = 0.0
    model_calls: int = 0
    rule_calls: int = 0
    state: State = field(default_factory=Completed)

    def items(self, wanted: int) -> int:
        """How many items to work on: what the agent wants, less in a capped first round."""
        return min(wanted, current_profile().first_round_items) if self.capped else wanted

    def tokens(self, wanted: int) -> int:
        """The same for tokens of one answer."""
        return min(wanted, current_profile().first_round_tokens) if self.capped else wanted

    def ask_all(self, requests: Sequence[ModelRequest]) -> list[Answer]:
        """Ask for a batch of one kind of work; answers that failed their checks are `verified=False`.

        What a request does not say itself (privacy, quality, due time) the run's parameters say; where both speak
        of privacy, the stricter one counts.
        """
        asked = current_router().ask_all(
            [self._filled(request) for request in requests],
            agent=self.agent,
            patience_seconds=max(LEAST_PATIENCE_SECONDS, self.parameters.patience_seconds - self.late_seconds),
            flow_run_id=self.flow_run_id,
            due_at=self.due_at,
        )
        passed = sum(answer.verified for answer in asked.answers)
        self.model_calls += passed
        self.rule_calls += len(asked.answers) - passed
        with transaction() as session:
            record = session.get_one(AgentRun, self.record_id)
            record.line_seconds += asked.line_seconds
            record.desk_seconds += asked.desk_seconds
            record.calls_model, record.calls_rules = self.model_calls, self.rule_calls
        return asked.answers

    def _filled(self, request: ModelRequest) -> ModelRequest:
        filled = {
            "privacy": stricter(request.privacy, self.parameters.privacy),
            "quality": request.quality or self.parameters.quality,
        }
        return request.model_copy(update=filled)

    def write(self, title: str, markdown: str) -> Path:
        """Write the output file and the artifact; only whole files appear in `out/`."""
        path = self._output(title, markdown)
        self._end("written", f"{path.name}", output_path=str(path))
        self.state = Completed(message=f"wrote {path}")
        return path

    def _output(self, title: str, markdown: str) -> Path:
        """The file and the artifact, with a line on which model did what, and why."""
        why = line_of_run(self.record_id)
        return write_output(self.agent, title, markdown, capped=self.capped, now=datetime.now(UTC), why=why)

    def could_not(self, error: CouldNot) -> None:
        """End as CouldNot, with the facts that were gathered in the output."""
        path = None
        if error.facts:
            path = self._output("Could not", error.facts)
        self._end("could_not", str(error), output_path=str(path) if path else None)
        self.state = Completed(name="CouldNot", message=str(error))

    def skipped(self, error: HotdeskError) -> None:
        """End as Skipped, with when it runs again."""
        after = _next_run()
        again = f" Its next run: {after:%Y-%m-%d %H:%M} UTC." if after else ""
        self._end("skipped", error.happened + again)
        self.state = Completed(name="Skipped", message=str(error) + again)

    def _end(self, state: str, message: str, *, output_path: str | None = None) -> None:
        with transaction() as session:
            record = session.get_one(AgentRun, self.record_id)
            record.state, record.message, record.ended_at = state, message, datetime.now(UTC)
            record.output_path = output_path or record.output_path
        log_event("agent_ended", holder=self.agent, state=state, why=message)


@contextmanager
def agent(parameters: AgentParameters) -> Iterator[Run]:
    """Record a run from its first line to its end; every way out leaves a state and a reason."""
    run = _begin(set(flow_run.tags or []), parameters)
    try:
        yield run
    except NoRoute as error:
        run._end("failed", error.happened)
        raise
    except (LeftLine, DoesNotFit, SeatLost, TierShut) as error:  # not now: nobody has a place for it, through no fault
        run.skipped(error)
    except CouldNot as error:
        run.could_not(error)
    except BaseException as error:
        run._end("failed", f"{type(error).__name__}: {error}"[:500])
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
    late = 0.0 if record.capped else _late_seconds(record.started_at)
    due_at = parameters.due_at(record.started_at)
    return Run(record.agent, record.id, record.flow_run_id, record.capped, parameters, due_at, late)


def _late_seconds(now: datetime) -> float:
    """How much of its patience a run spent before it began: patience counts from the expected start.

    The runs of a first round are all wanted at once and wait for each other; they are not late.
    """
    expected = flow_run.scheduled_start_time
    return max(0.0, (now - expected).total_seconds()) if expected else 0.0


def _next_run() -> datetime | None:
    """When the server will run this deployment again, None when it does not say."""
    if not deployment.id:
        return None
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[UUID(str(deployment.id))]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    try:
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=1)
    except (httpx.HTTPError, PrefectException):
        return None  # the skip is what matters; its message says less
    return runs[0].expected_start_time.astimezone(UTC) if runs and runs[0].expected_start_time else None
