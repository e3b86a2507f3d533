"""What a first round comes to: the exit rule, the order, the table, Prefect's word against the record."""

import io
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import State, StateType
from rich.console import Console

from deployments import first_round
from deployments.first_round import Agent, in_order, is_due, mark_done, outcome_of, pause_samples, run_round
from deployments.summary import Outcome, exit_code, first_output, table, totals, verdict
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import transaction


def outcomes(**counts: int) -> list[Outcome]:
    return [Outcome(f"flow/{state}-{i}", state) for state, n in counts.items() for i in range(n)]  # type: ignore[arg-type]  # states come as names


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"written": 8}, 0),
        ({"written": 9, "could_not": 1}, 0),
        ({"written": 8, "could_not": 1}, 1),  # 89% wrote
        ({"written": 8, "could_not": 2}, 1),
        ({"written": 18, "could_not": 2}, 0),
        ({"written": 19, "skipped": 1}, 1),
        ({"written": 19, "failed": 1}, 1),
        ({"written": 19, "unfinished": 1}, 1),
        ({"could_not": 8}, 1),
        ({}, 1),
    ],
)
def test_exit_status_of_a_round(counts: dict[str, int], code: int) -> None:
    assert exit_code(outcomes(**counts)) == code


def test_verdict_names_every_reason() -> None:
    said = verdict(outcomes(written=5, failed=1, skipped=2, could_not=3))
    assert "5 of 11" in said
    assert "1 failed" in said
    assert "2 skipped" in said
    assert "fewer than 90%" in said
    assert "does not count" not in verdict(outcomes(written=8))
    assert "`agent`" in verdict([])


def test_totals_add_up_calls_and_seconds() -> None:
    said = totals(
        [
            Outcome("a/b", "written", calls_model=3, calls_rules=1, line_seconds=2.0, desk_seconds=4.4),
            Outcome("a/c", "unfinished", calls_model=1, line_seconds=1.0),
        ]
    )
    assert "1 written" in said
    assert "1 failed" in said
    assert "own text 4" in said
    assert "rules only 1" in said
    assert "3 s in line, 4 s at the desk" in said


def test_first_output_counts_from_the_start_and_ignores_agents_that_wrote_nothing() -> None:
    start = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    ended = [
        Outcome("a/b", "skipped", ended_at=start + timedelta(seconds=5)),
        Outcome("a/c", "written", ended_at=start + timedelta(seconds=31)),
        Outcome("a/d", "written", ended_at=start + timedelta(seconds=21)),
    ]
    assert first_output(ended, start) == "first output after 21 s"
    assert first_output(ended[:1], start) == ""


def test_table_shows_output_or_reason_and_survives_markup_in_a_message(hotdesk_home: Home) -> None:
    inside = str(hotdesk_home.out / "digest" / "one.md")
    broken = Outcome("c/d", "failed", message="[/red] broke\nhere")
    drawn = table([Outcome("a/b", "written", output_path=inside), broken])
    console = Console(file=io.StringIO(), width=100)
    console.print(drawn)
    said = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "out/digest/one.md" in said
    assert "[/red] broke here" in said


def test_constrained_agents_start_first() -> None:
    names = ["digest/news", "triage/mail", "log_watch/web", "extract/bills", "digest/blog"]
    ordered = in_order([Agent(name, uuid4(), True) for name in names])
    assert [agent.name for agent in ordered[:2]] == ["extract/bills", "triage/mail"]
    assert [agent.name for agent in ordered[2:]] == ["digest/blog", "digest/news", "log_watch/web"]


def test_first_round_is_due_once(hotdesk_home: Home) -> None:
    assert is_due()
    mark_done(datetime.now(UTC))
    assert not is_due()


class FakeServer:
    """Stands in for Prefect's client: every run walks through the states given for its deployment."""

    def __init__(self, walks: dict[UUID, list[State[Any] | Exception]]) -> None:
        self.walks = walks
        self.runs: dict[UUID, UUID] = {}
        self.tags: list[list[str]] = []
        self.paused: list[UUID] = []

    def create_flow_run_from_deployment(self, deployment_id: UUID, *, tags: list[str]) -> Any:
        run = uuid4()
        self.runs[run] = deployment_id
        self.tags.append(tags)
        return SimpleNamespace(id=run)

    def read_flow_runs(self, *, flow_run_filter: Any, limit: int) -> list[Any]:
        found = []
        for run in flow_run_filter.id.any_:
            walk = self.walks[self.runs[run]]
            state = walk.pop(0) if len(walk) > 1 else walk[0]
            if isinstance(state, Exception):
                raise state
            found.append(SimpleNamespace(id=run, state=state))
        return found

    def pause_deployment(self, deployment_id: UUID) -> None:
        self.paused.append(deployment_id)


def state(kind: StateType, message: str = "", name: str | None = None) -> State[Any]:
    return State(type=kind, message=message, name=name)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_round, "POLL_SECONDS", 0.0)


def record(run: UUID, **columns: Any) -> None:
    with transaction() as session:
        session.add(AgentRun(flow_run_id=str(run), agent="a/b", started_at=datetime.now(UTC), **columns))


@pytest.mark.usefixtures("no_waiting", "hotdesk_home")
def test_round_waits_for_all_and_runs_them_capped() -> None:
    agent = Agent("a/b", uuid4(), True)
    server = FakeServer(
        {agent.deployment_id: [state(StateType.SCHEDULED), httpx.ReadTimeout("busy"), state(StateType.COMPLETED)]}
    )
    looks: list[int] = []

    def on_look() -> None:
        looks.append(1)
        if len(looks) == 1:
            record(next(iter(server.runs)), state="written", output_path="x.md", calls_model=2)

    (ended,) = run_round(server, [agent], on_look=on_look)  # type: ignore[arg-type]  # a fake
    assert (ended.state, ended.calls_model, ended.output_path) == ("written", 2, "x.md")
    assert server.tags == [["capped"]]
    assert len(looks) == 3


@pytest.mark.usefixtures("no_waiting", "hotdesk_home")
def test_run_displaced_by_a_scheduled_one_is_started_once_more() -> None:
    agent = Agent("a/b", uuid4(), True)
    cancelled = state(StateType.CANCELLED, "Deployment concurrency limit reached.")
    server = FakeServer({agent.deployment_id: [cancelled]})
    lost: list[Outcome] = []
    (ended,) = run_round(server, [agent], on_look=lambda: None, on_lost=lost.append)  # type: ignore[arg-type]  # a fake
    assert len(server.runs) == 2
    assert ended.state == "failed"
    assert lost == [ended]


@pytest.mark.usefixtures("no_waiting", "hotdesk_home")
def test_run_that_never_ends_is_unfinished_at_the_deadline() -> None:
    agent = Agent("a/b", uuid4(), False)
    server = FakeServer({agent.deployment_id: [state(StateType.PENDING)]})
    (ended,) = run_round(server, [agent], on_look=lambda: None, deadline_seconds=0.0)  # type: ignore[arg-type]  # a fake
    assert ended.state == "unfinished"
    assert "Pending" in (ended.message or "")


@pytest.mark.parametrize(
    ("prefect", "ours", "expected"),
    [
        (StateType.COMPLETED, "written", "written"),
        (StateType.COMPLETED, "skipped", "skipped"),
        (StateType.COMPLETED, "could_not", "could_not"),
        (StateType.COMPLETED, "running", "failed"),  # said that it ended, and its record did not
        (StateType.CRASHED, "running", "failed"),
        (StateType.FAILED, "written", "failed"),
        (StateType.CANCELLED, "written", "failed"),
        (StateType.COMPLETED, None, "failed"),  # no record: it never went through the agent frame
    ],
)
def test_outcome_needs_both_prefects_state_and_the_record(
    hotdesk_home: Home, prefect: StateType, ours: str | None, expected: str
) -> None:
    run: Any = SimpleNamespace(id=uuid4(), state=state(prefect, "because"))
    if ours:
        record(run.id, state=ours)
    ended = outcome_of("a/b", run)
    assert ended.state == expected
    assert "because" in (ended.message or "")


def test_only_sample_agents_are_paused() -> None:
    fleet = [Agent("a/sample", uuid4(), True), Agent("a/own", uuid4(), False)]
    server = FakeServer({})
    assert pause_samples(server, fleet) == [fleet[0]]  # type: ignore[arg-type]  # a fake
    assert server.paused == [fleet[0].deployment_id]
