"""Prefect's starter of a process, by fork; and what a child's death is put down to.

The protocol is `prefect.runner._flow_run_executor.ProcessStarter`, private to Prefect: the version is pinned and
`tests/integration/test_worker_contract.py` holds it to what is used here.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
from prefect.client.schemas.objects import FlowRun
from prefect.runner._control_channel import ControlChannel
from prefect.runner._process_manager import ProcessHandle

from deployments.forking.deaths import Deaths
from deployments.forking.forks import Forks
from deployments.forking.hooks import ForkHooks
from deployments.forking.link import Child
from governor.errors import HotdeskError

# To say that it was ended takes a run half a second; `hotdesk down` kills a worker after 15 s.
LAST_WORDS_SECONDS = 8.0


CA_FILE = "PREFECT_API_SSL_CERT_FILE"


@dataclass(frozen=True)
class ChildScope:
    """How one child is watched and ended: by its pidfd, so nobody else's process can be meant.

    Only the run's process is signalled, never a group: engines that it started serve others too.
    """

    child: Child
    wait_after_graceful_kill: bool = True

    def is_alive(self, pid: int) -> bool:
        """Whether it runs."""
        return self.child.returncode is None

    def graceful_kill(self, pid: int) -> None:
        """SIGTERM."""
        self.child.signal(signal.SIGTERM)

    def hard_kill(self, pid: int) -> None:
        """SIGKILL."""
        self.child.signal(signal.SIGKILL)

    def close(self) -> None:
        """Nothing: the descriptor goes with the child."""


@dataclass(frozen=True)
class ForkStarter:
    """One run's start; `start` ends when the child has.

    `env` is the run's own, on top of the worker's, `folder` where it begins. `flow` says where the flow
    is to be found (file, function, folder); None: the run finds out as Prefect does. `deployment`
    (id, name, version) and `known` spare it questions (`known`).
    """

    forks: Forks
    deaths: Deaths
    hooks: ForkHooks
    control: ControlChannel
    env: Mapping[str, str | None]
    folder: Path
    stream_output: bool = True
    flow: Mapping[str, str] | None = None
    deployment: Mapping[str, str | None] | None = None
    known: Mapping[str, Any] = field(default_factory=dict)

    async def start(
        self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Fork, say the handle, wait for the end.

        Raises:
            NotReady: no process could be made.
        """
        request = self._request(flow_run)
        self.hooks.keep(flow_run.id, request)
        before = self.deaths.look()
        try:
            child = await self.forks.fork(request)
        except BaseException as error:
            self.control.unregister(flow_run.id)
            if isinstance(error, HotdeskError):  # Prefect says of a start only that it failed
                self.deaths.keep(flow_run.id, f" hotdesk: {error}")
            raise
        task_status.started(ProcessHandle(child, termination_scope=ChildScope(child)))  # type: ignore[arg-type]  # pid and returncode are all it asks for
        try:
            status = await asyncio.shield(child.ended)  # or it would be cancelled too, and could not be waited for
        except anyio.get_cancelled_exc_class():
            # The worker stops: all children hear of it at once, and not one after the other's 30 s. A second SIGTERM,
            # from whoever ends what a stopped worker left, would cut off what they tell the server.
            if child.returncode is None:
                child.signal(signal.SIGTERM)
                with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
                    await asyncio.shield(child.ended)
            raise
        self.deaths.note(flow_run.id, status if child.was_seen else None, before)

    def _request(self, flow_run: FlowRun) -> dict[str, Any]:
        return {
            "run": str(flow_run.id),
            "env": self._environment(flow_run),
            "folder": str(self.folder),
            "stream_output": self.stream_output,
            "flow": self.flow and dict(self.flow),
            "deployment": self.deployment and dict(self.deployment),
            "known": dict(self.known),
        }

    def _environment(self, flow_run: FlowRun) -> dict[str, str]:
        env: dict[str, str | None] = {
            **os.environ,
            **self.forks.settings,
            **self.env,  # a deployment's own settings win over the worker's, as under Prefect's process worker
            "PREFECT__FLOW_RUN_ID": str(flow_run.id),
            # The worker runs these hooks: it knows how the child ended.
            "PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS": "false",
            **self._control(flow_run),
        }
        if not (env.get("PREFECT_API_URL") or "").startswith("http://") and not self.env.get(CA_FILE):
            env[CA_FILE] = None  # the one authority of `forks` is for plain http
        return {name: value for name, value in env.items() if value is not None}

    def _control(self, flow_run: FlowRun) -> dict[str, str]:
        """Where the child hears of a cancel before the signal, and tells how it ended."""
        try:
            port, token = self.control.register(flow_run.id)
        except RuntimeError:  # no listener could be bound: a cancel is the signal alone then
            return {}
        return {"PREFECT__CONTROL_PORT": str(port), "PREFECT__CONTROL_TOKEN": token}
