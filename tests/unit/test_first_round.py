"""What a first round comes to: the exit rule, the order, the table, Prefect's word against the record."""

import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.schemas.objects import State, StateType
from rich.console import Console

from deployments import first_round
from deployments.first_round import Watch, is_due, mark_done, outcome_of, pause_samples, round_seconds, run_round
from deployments.round_agents import PAGE, Agent, agents, chosen, in_order, waves
from deployments.summary import Outcome, exit_code, first_output, table, totals, verdict
from governor.errors import BadInput
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import transaction
from tests.unit.decision_rows import call


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


def fleet_of(*names: str) -> list[Agent]:
    return [Agent(name, uuid4(), True) for name in names]


def names_of(fleet: Iterable[Agent]) -> list[str]:
    return [agent.name for agent in fleet]


def test_constrained_agents_start_first_and_readers_of_what_the_others_wrote_last() -> None:
    fleet = fleet_of("brief/week", "digest/news", "triage/mail", "log_watch/web", "extract/bills", "check/links")
    ordered = ["check/links", "extract/bills", "log_watch/web", "triage/mail", "digest/news", "brief/week"]
    assert names_of(in_order(fleet)) == ordered
    assert [names_of(wave) for wave in waves(in_order(fleet))] == [ordered[:-1], ordered[-1:]]
    assert [len(wave) for wave in waves(fleet[:1])] == [1]
    assert waves([]) == []


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ([], ["triage/inbox", "triage/leads", "log-watch/app", "digest/news"]),
        (["triage"], ["triage/inbox", "triage/leads"]),
        (["digest/news"], ["digest/news"]),
        (["digest, triage/leads"], ["triage/leads", "digest/news"]),
        (["digest/news", "digest"], ["digest/news"]),
        (["log_watch/app"], ["log-watch/app"]),
        (["inbox,news"], ["triage/inbox", "digest/news"]),
    ],
)
def test_a_round_may_be_of_some_kinds_and_agents_in_the_order_of_the_fleet(wanted: list[str], names: list[str]) -> None:
    fleet = fleet_of("triage/inbox", "triage/leads", "log-watch/app", "digest/news")
    assert names_of(chosen(fleet, wanted)) == names


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ("triag", "`triage`"),
        ("mail", "Say triage/mail or digest/mail."),
        ("triage/inbx", "`triage/inbox`"),
        ("", "Known here: triage"),
    ],
)
def test_an_agent_that_there_is_not_names_the_one_that_is_meant(wanted: str, meant: str) -> None:
    with pytest.raises(BadInput) as error:
        chosen(fleet_of("triage/inbox", "triage/mail", "digest/mail"), [wanted])
    assert meant in error.value.remedy


class FakeFleet:
    """FAKE of Prefect's client: deployments in pages of at most 200, and their flows; counts what is asked."""

    def __init__(self, count: int) -> None:
        self.flows = [SimpleNamespace(id=uuid4(), name=name) for name in ("triage", "digest")]
        self.deployments = [
            SimpleNamespace(
                id=uuid4(), name=f"n{at:03}", flow_id=self.flows[at % 2].id, tags=["agent"], work_pool_name="pool"
            )
            for at in range(count)
        ]
        self.deployments.append(
            SimpleNamespace(id=uuid4(), name="x", flow_id=self.flows[0].id, tags=["agent"], work_pool_name="other")
        )
        self.asked: list[str] = []

    def read_deployments(self, *, deployment_filter: Any, limit: int, offset: int = 0) -> list[Any]:
        self.asked.append("deployments")
        return self.deployments[offset : offset + min(limit, PAGE)]

    def read_flows(self, *, flow_filter: Any, limit: int) -> list[Any]:
        self.asked.append("flows")
        return [flow for flow in self.flows if flow.id in flow_filter.id.any_][:limit]


@pytest.mark.parametrize(("count", "asked"), [(54, 2), (PAGE - 1, 3), (450, 4), (0, 1)])
def test_the_fleet_is_read_in_pages_and_its_flows_at_once(count: int, asked: int) -> None:
    server: Any = FakeFleet(count)
    found = agents(server, "pool")
    assert len(found) == count and len(server.asked) == asked
    assert all(name.startswith(("triage/", "digest/")) for name in names_of(found))


def test_a_round_has_time_for_the_whole_fleet() -> None:
    assert round_seconds(10) == 900
    assert round_seconds(54) == 2220


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


def no_look() -> None:
    return None


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

    (ended,) = run_round(server, [agent], Watch(on_look))  # type: ignore[arg-type]  # a fake
    assert (ended.state, ended.calls_model, ended.output_path) == ("written", 2, "x.md")
    assert server.tags == [["capped"]]
    assert len(looks) == 3


@pytest.mark.usefixtures("no_waiting", "hotdesk_home")
def test_run_displaced_by_a_scheduled_one_is_started_once_more() -> None:
    agent = Agent("a/b", uuid4(), True)
    cancelled = state(StateType.CANCELLED, "Deployment concurrency limit reached.")
    server = FakeServer({agent.deployment_id: [cancelled]})
    lost: list[Outcome] = []
    (ended,) = run_round(server, [agent], Watch(no_look, lost.append))  # type: ignore[arg-type]  # a fake
    assert len(server.runs) == 2
    assert ended.state == "failed"
    assert lost == [ended]


@pytest.mark.usefixtures("no_waiting", "hotdesk_home")
def test_run_that_never_ends_is_unfinished_at_the_deadline() -> None:
    agent = Agent("a/b", uuid4(), False)
    server = FakeServer({agent.deployment_id: [state(StateType.PENDING)]})
    (ended,) = run_round(server, [agent], Watch(no_look), seconds_for=lambda _agents: 0.0)  # type: ignore[arg-type]  # a fake
    assert ended.state == "unfinished"
    assert "Pending" in (ended.message or "")


@pytest.mark.usefixtures("no_waiting", "hotdesk_home")
def test_who_reads_what_the_others_wrote_starts_when_they_have_ended() -> None:
    news, brief = fleet_of("digest/news", "brief/week")
    done = state(StateType.COMPLETED)
    walks: Any = {news.deployment_id: [state(StateType.RUNNING)] * 2 + [done], brief.deployment_id: [done]}
    server = FakeServer(walks)
    started: list[int] = []
    ended = run_round(server, [brief, news], Watch(lambda: started.append(len(server.runs))))  # type: ignore[arg-type]  # a fake
    assert started == [1, 1, 1, 2]
    assert [outcome.agent for outcome in ended] == ["digest/news", "brief/week"]


@pytest.mark.usefixtures("no_waiting", "hotdesk_home")
def test_who_reads_has_time_of_its_own_where_the_others_took_all_of_theirs() -> None:
    stuck, brief = fleet_of("digest/news", "brief/week")
    walks: Any = {stuck.deployment_id: [state(StateType.RUNNING)], brief.deployment_id: [state(StateType.RUNNING)] * 2}
    walks[brief.deployment_id].append(state(StateType.CANCELLED, "by hand"))
    ended = run_round(FakeServer(walks), [stuck, brief], Watch(no_look), seconds_for=lambda n: (n - 1) * 60.0)  # type: ignore[arg-type]  # a fake
    assert [outcome.state for outcome in ended] == ["unfinished", "failed"]


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
    assert ended.crashed == (prefect is StateType.CRASHED)
    assert "because" in (ended.message or "")


def test_calls_are_told_apart_by_how_they_came_to_stand(hotdesk_home: Home) -> None:
    run: Any = SimpleNamespace(id=uuid4(), state=state(StateType.COMPLETED))
    record(run.id, state="written", calls_model=3, calls_rules=2, calls_remembered=1)
    told = {"a": ["verified"], "b": ["no JSON", "verified"], "c": ["no JSON", "no JSON"], "d": ["verified", "verified"]}
    with transaction() as session:
        for request, verdicts in told.items():
            for at, verdict in enumerate(verdicts, start=1):
                row = {"request_id": request, "attempt": at, "verdict": verdict, "at": datetime.now(UTC)}
                session.add(call(flow_run_id=str(run.id), **row))
    ended = outcome_of("a/b", run)
    assert (ended.calls_first, ended.calls_later, ended.calls_remembered) == (2, 1, 1)


def test_only_sample_agents_are_paused() -> None:
    fleet = [Agent("a/sample", uuid4(), True), Agent("a/own", uuid4(), False)]
    server = FakeServer({})
    assert pause_samples(server, fleet) == [fleet[0]]  # type: ignore[arg-type]  # a fake
    assert server.paused == [fleet[0].deployment_id]
