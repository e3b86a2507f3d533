"""A flow run whose process is gone is closed on the server; one that may live never is."""

import os
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import State, StateType

from deployments.leftovers import close_leftovers, is_dead
from deployments.run_process import named
from governor.processes import Identity, identify
from governor.state.models import AgentRun
from governor.state.sessions import transaction

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(hours=1)
HERE = socket.gethostname()


def run(pid: str | None, *, since: datetime = LONG_AGO, kind: StateType = StateType.RUNNING, tags: Any = ()) -> Any:
    state = State(type=kind, timestamp=since)
    return SimpleNamespace(id=uuid4(), infrastructure_pid=pid, state=state, tags=list(tags))


@pytest.fixture(scope="module")
def gone_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.usefixtures("hotdesk_home")
def test_run_is_dead_only_when_its_process_on_this_host_is_gone(gone_pid: int) -> None:
    assert is_dead(run(f"{HERE}:{gone_pid}"), NOW)
    assert not is_dead(run(f"{HERE}:{os.getpid()}"), NOW)
    assert not is_dead(run(f"another-host:{gone_pid}"), NOW)
    assert not is_dead(run(named(os.getpid())), NOW)
    assert is_dead(run(f"{HERE}:{os.getpid()}:1"), NOW), "its number is somebody else's by now"


@pytest.mark.usefixtures("hotdesk_home")
def test_run_without_a_process_is_dead_once_its_worker_had_the_time_to_start_it() -> None:
    assert is_dead(run(None, since=LONG_AGO), NOW)
    assert not is_dead(run(None, since=NOW + timedelta(seconds=1)), NOW)


@pytest.mark.usefixtures("hotdesk_home")
@pytest.mark.parametrize(("owner", "dead"), [(Identity("another boot", "", 1, 1), True), (identify(), False)])
def test_agents_own_record_says_more_than_a_bare_pid(owner: Identity, dead: bool, gone_pid: int) -> None:
    asked = run(f"{HERE}:{gone_pid if not dead else os.getpid()}")
    row = AgentRun(flow_run_id=str(asked.id), agent="a/b", started_at=NOW)
    row.identity = owner
    with transaction() as session:
        session.add(row)
    assert is_dead(asked, NOW) is dead


class FakeServer:
    """Two answers: runs under way, then scheduled ones."""

    def __init__(self, *answers: list[Any]) -> None:
        self.answers = list(answers)
        self.set: dict[Any, StateType] = {}

    def read_flow_runs(self, **_filters: Any) -> list[Any]:
        return self.answers.pop(0)

    def set_flow_run_state(self, run_id: Any, state: State[Any], *, force: bool) -> None:
        assert force
        self.set[run_id] = state.type


@pytest.mark.usefixtures("hotdesk_home")
def test_dead_runs_crash_unstarted_capped_ones_are_cancelled_and_the_rest_stays(gone_pid: int) -> None:
    dead, alive = run(f"{HERE}:{gone_pid}"), run(f"{HERE}:{os.getpid()}")
    capped = run(None, kind=StateType.SCHEDULED, tags=["agent", "capped"])
    regular = run(None, kind=StateType.SCHEDULED, tags=["agent"])
    server = FakeServer([dead, alive], [capped, regular])
    assert close_leftovers(server, workers_stopped=True) == 2  # type: ignore[arg-type]  # a fake
    assert server.set == {dead.id: StateType.CRASHED, capped.id: StateType.CANCELLED}
