"""What a worker that died left: runs are told as they are, begun again or watched, and nothing else is touched."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from prefect.client.schemas.objects import State, StateType

from deployments import orphans
from deployments.orphans import Orphans
from deployments.run_process import named

HERE = socket.gethostname()
GONE = f"{HERE}:{os.getpid()}:1"
OF_ANOTHER_BOOT = f"{HERE}:{os.getpid()}:1:1:otherwise"
OF_ANOTHER_CONTAINER = ":".join([*named(os.getpid()).split(":")[:3], "1", named(os.getpid()).split(":")[4]])
BOUND_SECONDS = 20.0
FORKS_ONE = """
import os, time
if (child := os.fork()) == 0:
    time.sleep(60)
print(child, flush=True)
time.sleep(60)
"""


class FakeQueue:
    """FAKE: who is adopted, told and over."""

    def __init__(self) -> None:
        self.at_work: dict[UUID, Any] = {}
        self.over: list[UUID] = []

    def adopt(self, run: Any, pid: int, send: Callable[[signal.Signals], None]) -> None:
        self.at_work[run.id] = (pid, send)

    def send(self, run: UUID, sign: signal.Signals) -> None:
        self.at_work[run][1](sign)

    def ended(self, run: UUID) -> None:
        self.over.append(run)


class FakeWorker:
    """FAKE: a server with these runs, and what was told of them."""

    def __init__(self, *runs: Any) -> None:
        self.runs = {run.id: run for run in runs}
        self.client = self
        self.work_pool = SimpleNamespace(name="hotdesk")
        self._cancelling_observer = None
        self._scheduled_task_scopes: set[anyio.CancelScope] = set()
        self._runs_task_group: anyio.abc.TaskGroup | None = None

    async def read_flow_runs(self, **_filters: Any) -> list[Any]:
        return list(self.runs.values())

    async def read_flow_run(self, run: UUID) -> Any:
        return self.runs[run]

    async def set_flow_run_state(self, run: UUID, state: Any, *, force: bool = False) -> None:
        self.runs[run].state = state

    async def _propose_crashed_state(self, run: Any, message: str) -> None:
        if not self.runs[run.id].state.is_final():
            self.runs[run.id].state = State(type=StateType.CRASHED, message=message)

    async def _mark_flow_run_as_cancelled(self, run: Any, state_updates: dict[str, Any]) -> None:
        self.runs[run.id].state = State(type=StateType.CANCELLED, **state_updates)


def a_run(kind: StateType, process: str = "", *, age: timedelta = timedelta(hours=1)) -> Any:
    state = State(type=kind, timestamp=datetime.now(UTC) - age)
    return SimpleNamespace(id=uuid4(), infrastructure_pid=process, state=state, deployment_id=None)


Then = Callable[[Orphans], Awaitable[None]]


def after_a_look(worker: FakeWorker, queue: FakeQueue, then: Then | None = None, *, looks: int = 1) -> None:
    """So many looks, then that, then the worker stops."""

    async def main() -> None:
        seen = Orphans(worker, queue)  # type: ignore[arg-type]  # fakes
        with anyio.fail_after(BOUND_SECONDS):
            async with anyio.create_task_group() as group:
                worker._runs_task_group = group
                for run in [*await seen._open()] * looks:
                    await seen._see_to(run)
                if then is not None:
                    await then(seen)
                for scope in worker._scheduled_task_scopes:
                    scope.cancel()

    asyncio.run(main())


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends at its first SIGTERM."""
    started = subprocess.Popen(["/bin/sleep", "60"])
    yield started
    started.kill()
    started.wait()


@pytest.mark.parametrize(
    ("run", "type_then"),
    [
        (a_run(StateType.RUNNING, GONE), StateType.CRASHED),
        (a_run(StateType.RUNNING, OF_ANOTHER_BOOT), StateType.CRASHED),
        (a_run(StateType.RUNNING, OF_ANOTHER_CONTAINER), StateType.RUNNING),
        (a_run(StateType.PENDING, GONE), StateType.SCHEDULED),
        (a_run(StateType.CANCELLING, GONE), StateType.CANCELLED),
        (a_run(StateType.RUNNING, "another-host:1:1"), StateType.RUNNING),
        (a_run(StateType.PENDING), StateType.SCHEDULED),
        (a_run(StateType.PENDING, age=-timedelta(hours=1)), StateType.PENDING),  # a moment ago, however long tests take
        (a_run(StateType.RUNNING), StateType.RUNNING),
    ],
)
def test_a_run_whose_process_is_gone_is_told_and_one_that_never_began_begins_again(run: Any, type_then: StateType):
    worker, queue = FakeWorker(run), FakeQueue()
    after_a_look(worker, queue, looks=2)
    assert worker.runs[run.id].state.type == type_then
    assert not queue.at_work


def test_what_is_gone_is_told_at_the_second_look_since_its_own_worker_may_be_about_to():
    run = a_run(StateType.RUNNING, GONE)
    worker, queue = FakeWorker(run), FakeQueue()
    after_a_look(worker, queue)
    assert worker.runs[run.id].state.is_running()


@pytest.mark.parametrize("kind", [StateType.PAUSED, StateType.SCHEDULED])
def test_a_run_that_waits_for_somebody_when_its_process_ends_is_no_crash(
    kind: StateType, child: "subprocess.Popen[bytes]"
):
    run = a_run(StateType.RUNNING, named(child.pid))
    worker, queue = FakeWorker(run), FakeQueue()

    async def suspends_and_ends(_seen: Orphans) -> None:
        worker.runs[run.id] = SimpleNamespace(**{**vars(run), "state": State(type=kind)})
        child.kill()
        while not queue.over:
            await anyio.sleep(0.01)

    after_a_look(worker, queue, suspends_and_ends)
    assert worker.runs[run.id].state.type == kind


def test_a_server_that_does_not_answer_when_a_process_ends_ends_nothing_else(child: "subprocess.Popen[bytes]"):
    run = a_run(StateType.RUNNING, named(child.pid))
    worker, queue = FakeWorker(run), FakeQueue()

    async def ends_unheard(_seen: Orphans) -> None:
        worker.runs.clear()  # reading it is a KeyError
        child.kill()
        while not queue.over:
            await anyio.sleep(0.01)

    after_a_look(worker, queue, ends_unheard)


def test_a_run_whose_fork_server_lives_is_its_own_workers(tmp_path: Path):
    script = tmp_path / "deployments.forking.server"  # a word of its command line, which is what is looked for
    script.write_text(FORKS_ONE)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        forked = int(parent.stdout.readline())
        try:
            run = a_run(StateType.RUNNING, named(forked))
            queue = FakeQueue()
            after_a_look(FakeWorker(run), queue)
            assert not queue.at_work
        finally:
            os.kill(forked, signal.SIGKILL)
            parent.kill()


def test_a_process_that_runs_is_watched_and_counts_until_it_ends(child: "subprocess.Popen[bytes]"):
    run = a_run(StateType.RUNNING, named(child.pid))
    worker, queue = FakeWorker(run), FakeQueue()

    async def dies(_seen: Orphans) -> None:
        assert queue.at_work[run.id][0] == child.pid
        child.kill()
        while not queue.over:
            await anyio.sleep(0.01)

    after_a_look(worker, queue, dies)
    assert worker.runs[run.id].state.is_crashed()
    assert worker.runs[run.id].state.message == orphans.UNSEEN


def test_a_stop_of_the_worker_leaves_it_alone_again(child: "subprocess.Popen[bytes]"):
    run = a_run(StateType.RUNNING, named(child.pid))
    worker, queue = FakeWorker(run), FakeQueue()
    after_a_look(worker, queue, lambda _seen: anyio.sleep(0))
    assert child.poll() is None
    assert worker.runs[run.id].state.is_running()


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_cancel_ends_also_a_process_that_hears_nothing_of_ours(child: "subprocess.Popen[bytes]", asked_before: bool):
    run = a_run(StateType.CANCELLING if asked_before else StateType.RUNNING, named(child.pid))
    worker, queue = FakeWorker(run), FakeQueue()

    async def cancelled(seen: Orphans) -> None:
        if not asked_before:
            run.state = State(type=StateType.CANCELLING)
            await seen.cancel(run.id)
        while not (queue.over and worker.runs[run.id].state.is_cancelled()):
            await anyio.sleep(0.01)

    after_a_look(worker, queue, cancelled)
    assert child.poll() is not None


def test_a_signal_reaches_only_a_process_that_listens(child: "subprocess.Popen[bytes]"):
    run = a_run(StateType.RUNNING, named(child.pid))
    worker, queue = FakeWorker(run), FakeQueue()

    async def told(_seen: Orphans) -> None:
        queue.send(run.id, signal.SIGUSR2)  # its default is to end the process
        await anyio.sleep(0)

    after_a_look(worker, queue, told)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.1)
