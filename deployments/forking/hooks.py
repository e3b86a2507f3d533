"""Hooks of a run that crashed or was cancelled: in a child of their own, with the run's flow and environment.

Prefect's worker runs them, since the run's process is gone. Here it would have to import the flow, and whatever that
imports, into a process that lives for months; a child has it all, and is gone afterwards.
"""

import asyncio
import signal
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import load_flow_from_flow_run
from prefect.logging.loggers import flow_run_logger
from prefect.runner._hook_runner import HookRunner

from deployments.forking.forks import Forks

# Hooks notify and tidy up; a run that waits for ever for its hook would never be over.
MOST_SECONDS = 600.0
# More than run at a time on any machine; 15 KB each.
KEPT = 200
CONTROL = ("PREFECT__CONTROL_PORT", "PREFECT__CONTROL_TOKEN")


class ForkHooks:
    """For all runs of one worker: Prefect keeps one runner of hooks for all that are cancelled.

    A cancel's hooks are run when the run's process is gone and its folder with it, so what it was forked with is kept.
    """

    def __init__(self, forks: Forks) -> None:
        self._forks = forks
        self._requests: dict[UUID, dict[str, Any]] = {}

    def keep(self, run: UUID, request: Mapping[str, Any]) -> None:
        """What the run is forked with; the oldest are forgotten."""
        folder = request["flow"]["folder"] if request["flow"] else str(self._forks.root)
        env = {name: value for name, value in request["env"].items() if name not in CONTROL}
        self._requests[run] = {**request, "env": env, "folder": folder}
        while len(self._requests) > KEPT:
            del self._requests[next(iter(self._requests))]

    async def run_cancellation_hooks(self, flow_run: FlowRun, state: State) -> None:
        """As `prefect.runner._hook_runner.FlowRunHookRunner` has it."""
        if state.is_cancelling():
            await self._run(flow_run, state)

    async def run_crashed_hooks(self, flow_run: FlowRun, state: State) -> None:
        """The same."""
        if state.is_crashed():
            await self._run(flow_run, state)

    async def _run(self, flow_run: FlowRun, state: State) -> None:
        request = self._requests.get(flow_run.id)
        if request is None:  # a run that was no fork: here, as Prefect's runner does it
            here = HookRunner(resolve_flow=load_flow_from_flow_run)
            await (here.run_crashed_hooks if state.is_crashed() else here.run_cancellation_hooks)(flow_run, state)
            return
        try:
            child = await self._forks.fork({**request, "hooks": state.model_dump(mode="json")})
        except Exception:  # the state is told all the same
            flow_run_logger(flow_run).warning("Hooks of %r were not run.", flow_run.name, exc_info=True)
            return
        try:
            await asyncio.wait_for(asyncio.shield(child.ended), MOST_SECONDS)
        except TimeoutError:
            flow_run_logger(flow_run).warning(
                "Hooks of %r took over %.0f s, and were ended.", flow_run.name, MOST_SECONDS
            )
            child.signal(signal.SIGKILL)
