"""A real server and a real worker for tests, with deployments of two flow files in the test's own folder.

`acts` is loaded by each run itself, `warm` is preloaded by the fork server (HOTDESK_PRELOAD). Both do what they are
told (`worker_acts`), say who they are in a file, and wait for a file to go on.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import ConcurrencyOptions, FlowRun, State, StateType
from prefect.states import Cancelling

from deployments.bootstrap_names import DEFAULT_QUEUE, POOL, SET_FOLDER
from deployments.environment import client_environment
from deployments.pool import right_pool
from deployments.services import log_file, running, start_service
from deployments.worker import WORKER, stop_workers, worker_argv
from governor.settings import Home
from tests.integration import worker_acts

# Generous: a machine that is busy with something else.
SECONDS = 30.0
STARTS_SECONDS = 90.0
# What wakes the worker is events, never this.
POLL_SECONDS = 60
T = TypeVar("T")


@dataclass
class WorkerStage:
    """The worker, its deployments and what their runs said. `folder` is the flows'."""

    where: Home
    client: SyncPrefectClient
    folder: Path
    places: int
    made: dict[str, UUID] = field(default_factory=dict)

    def start_worker(self) -> int:
        """Its pid, once it has a fork server that is ready."""
        flows = [self.folder / name for name in ("acts.py", "warm.py")]
        for file in flows:
            if not file.exists():
                shutil.copy(worker_acts.__file__, file)
        env = {
            **client_environment(self.where),
            "PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS),
            "HOTDESK_PRELOAD": str(flows[1]),
        }
        argv = worker_argv(self.places)
        row = start_service(self.where, WORKER, argv, env=env)
        assert row.pid is not None
        seen = self.log().count("started!")
        until(lambda: self.log().count("started!") > seen or self.log() == "", STARTS_SECONDS, self.log)
        return row.pid

    @property
    def worker_pid(self) -> int:
        """The worker that runs."""
        row = running(self.where, WORKER)
        assert row is not None and row.pid is not None, self.log()
        return row.pid

    def log(self) -> str:
        """All that workers said."""
        file = log_file(self.where, WORKER)
        return file.read_text() if file.exists() else ""

    def fork_server(self) -> psutil.Process:
        """The worker's process that forks."""
        return next(one for one in psutil.Process(self.worker_pid).children() if is_fork_server(one))

    def deployment(
        self, name: str, *, file: str = "acts", alone: bool = False, pulled: bool = True, **variables: Any
    ) -> UUID:
        """One of that name, made the first time. `alone`: one run at a time, as agents have it; `pulled`: by a step."""
        if name not in self.made:
            limits: dict[str, Any] = {}
            if alone:
                options = ConcurrencyOptions.model_validate({"collision_strategy": "CANCEL_NEW"})
                limits = {"concurrency_limit": 1, "concurrency_options": options}
            self.made[name] = self.client.create_deployment(
                self.client.create_flow_from_name("act"),
                name,
                work_pool_name=POOL,
                work_queue_name=DEFAULT_QUEUE,
                entrypoint=f"{file}.py:act",
                pull_steps=[{SET_FOLDER: {"directory": str(self.folder)}}] if pulled else None,
                job_variables=variables,
                **limits,
            )
        return self.made[name]

    def ask(self, name: str, what: str, *, tags: Sequence[str] = (), **how: Any) -> FlowRun:
        """Ask for a run of a deployment that does that."""
        deployment = self.deployment(name, **how)
        return self.client.create_flow_run_from_deployment(deployment, parameters={"what": what}, tags=tags)

    def said(self, run: FlowRun, seconds: float = SECONDS) -> dict[str, Any]:
        """What a run said of itself at its first line."""
        file = self.folder / f"{run.id}.json"
        until(file.exists, seconds, lambda: f"{self.state(run)!r}\n{self.log()}")
        return json.loads(file.read_text())

    def begins(self, name: str, what: str = "wait", **how: Any) -> tuple[FlowRun, int]:
        """A run that is at its first line, and its pid."""
        run = self.ask(name, what, **how)
        return run, self.said(run)["pid"]

    def go(self, run: FlowRun) -> None:
        """Let a run that waits go on."""
        (self.folder / f"{run.id}.go").touch()

    def all_go(self) -> None:
        """Whoever waits goes on."""
        for said in self.folder.glob("*.json"):
            said.with_suffix(".go").touch()

    def state(self, run: FlowRun) -> State[Any]:
        """On the server."""
        state = self.client.read_flow_run(run.id).state
        assert state is not None
        return state

    def ends(self, run: FlowRun, seconds: float = SECONDS) -> State[Any]:
        """Its last state."""
        return until(lambda: self.is_in(run, final=True), seconds, lambda: f"{self.state(run)!r}\n{self.log()}")

    def is_in(self, run: FlowRun, *types: StateType, final: bool = False) -> State[Any] | None:
        """Its state, if it is one of those."""
        state = self.state(run)
        return state if state.type in types or (final and state.is_final()) else None

    def cancel(self, run: FlowRun) -> None:
        """As `prefect flow-run cancel` does."""
        self.client.set_flow_run_state(run.id, Cancelling())

    def messages(self, run: FlowRun) -> list[str]:
        """Its logs on the server."""
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))
        return [log.message for log in self.client.read_logs(wanted)]

    def close(self) -> None:
        """Nothing stays."""
        assert stop_workers(self.where, grace_seconds=0.5) == []
        for flow in self.client.read_flows():
            self.client.delete_flow(flow.id)


@contextmanager
def worker_stage(where: Home, client: SyncPrefectClient, folder: Path, places: int) -> Iterator[WorkerStage]:
    """A pool, and a stage whose worker is not started yet."""
    right_pool(client, now=datetime.now(UTC))
    stage = WorkerStage(where, client, folder, places)
    try:
        yield stage
    finally:
        stage.close()


def is_fork_server(process: psutil.Process) -> bool:
    """By its command line; a child of it has the same, and another parent."""
    try:
        return "deployments.forking.server" in process.cmdline()
    except psutil.Error:
        return False


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)


def is_there(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(look: Callable[[], T | None], seconds: float = SECONDS, picture: Callable[[], str] = lambda: "") -> T:
    """What `look` finds, once it finds anything."""
    begun_s = time.monotonic()
    while not (found := look()):
        assert time.monotonic() - begun_s < seconds, picture()
        time.sleep(0.1)
    return found
