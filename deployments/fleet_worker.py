"""The worker of the fleet: Prefect's, with a fork for each run and as many at a time as the machine carries.

What is Prefect's stays Prefect's: states, cancelling, crash reports, hooks, heartbeats, the sync with the server. Ours
is how a run's process comes to be (`forking`), which runs start now (`governor.policy.admitting`), when to look
(`waking`), and what became of runs whose worker died (`orphans`). Registered as a collection of Prefect's, so that
`prefect worker start --type hotdesk` finds it.
"""

import logging
import sys
import tempfile
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import anyio.abc
from anyio import to_thread
from prefect._internal.observers import FlowRunCancellingObserver
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import InfrastructureNotAvailable, InfrastructureNotFound
from prefect.runner._flow_run_executor import FlowRunExecutionResult, FlowRunExecutorContext, ProcessStarter
from prefect.runner._process_manager import ProcessHandle
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables, ProcessWorkerResult

from deployments.bootstrap_names import POOL_TYPE, SET_FOLDER
from deployments.fleet import checkout
from deployments.forking.deaths import Deaths, Proposer
from deployments.forking.forks import Forks
from deployments.forking.hooks import ForkHooks
from deployments.forking.known import Known, one_token, read_once
from deployments.forking.starter import ForkStarter
from deployments.orphans import Orphans
from deployments.queue_of_runs import QueueOfRuns
from deployments.run_process import identity_of, is_elsewhere, is_gone, named
from deployments.waking import Waking
from governor.errors import NotReady
from governor.events import log_event, logger
from governor.policy.admitting import AGENTS, FORKING_PLATFORM, HOUSE
from governor.processes import end

# Runs due between two polls (10 s, up to 13 with Prefect's jitter) are known before their time.
PREFETCH_SECONDS = 20.0
HOUSE_PLACES = 2  # one `govern` and one `evict` at a time
CAN_FORK = sys.platform == FORKING_PLATFORM


class FleetWorker(BaseWorker[ProcessJobConfiguration, ProcessVariables, ProcessWorkerResult]):
    """Runs flows as forks of one process that has imported everything; `limit` is for agents, None: the profile's."""

    type = POOL_TYPE
    job_configuration = ProcessJobConfiguration
    job_configuration_variables = ProcessVariables
    _display_name = "hotdesk"
    _description = "Runs each flow as a fork of one warm process: fast to start, small, as many as the machine carries."
    _documentation_url = ""
    _logo_url = ""

    def __init__(self, work_pool_name: str, *arguments: Any, limit: int | None = None, **named: Any) -> None:
        named["prefetch_seconds"] = max(named.get("prefetch_seconds") or 0.0, PREFETCH_SECONDS)
        super().__init__(work_pool_name, *arguments, **named)
        from governor.profile import current_profile  # with it the state database, which `prefect` commands do not need

        self.places = limit or current_profile().worker_limit
        self.forks, self.deaths, self._known = Forks(checkout()), Deaths(), Known()
        self.hooks = ForkHooks(self.forks)
        self._executors = FlowRunExecutorContext()
        self._queue = QueueOfRuns(self, {AGENTS: self.places, HOUSE: HOUSE_PLACES})
        self.orphans = Orphans(self, self._queue)
        self.waking = Waking(self, self._queue)

    async def setup(self) -> None:
        """Prepare to run: what outlives the runs is entered before the group that they run in."""
        logger.setLevel(logging.INFO)  # or the worker's log would not say why runs wait: Prefect's own level is WARNING
        self._executors = await self._exit_stack.enter_async_context(FlowRunExecutorContext())
        self._executors._state_proposer = Proposer(client=self._executors.client, deaths=self.deaths)
        self._executors._observer.on_cancelling = self._cancel_started
        one_token(self._executors.client)
        await super().setup()
        one_token(self.client)
        read_once(self.client)
        if CAN_FORK:
            try:
                await self.forks.fresh()
            except NotReady as error:  # the first run tries again
                log_event("fork_server_not_ready", level=logging.WARNING, error=str(error))
        else:
            log_event("no_fork_here", platform=sys.platform, instead="a new process for each run")
        self.waking.start()

    async def teardown(self, *exc_info: Any) -> None:
        """Stop taking runs, wait for those under way as Prefect's worker does, let the fork server go."""
        try:
            await super().teardown(*exc_info)
        finally:
            self.forks.close()

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Prefect's poll: what it brings is kept, and what may start now starts."""
        if self._has_successfully_synced:
            await self._queue.fill()
        self._last_polled_time = datetime.now(UTC)  # for the health check of `prefect worker start`
        return []

    async def submit_now(self, runs: list[WorkerFlowRunResponse]) -> None:
        """Start these; Prefect's own way from here on."""
        await super()._submit_scheduled_flow_runs(runs)

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Left out: it says that infrastructure is being made, which takes minutes elsewhere and 5 ms here.

        The state costs the server 25 ms and an event, for each run.
        """

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """Left out: worker and pool stand in the run's record and events, and the label takes the server a write."""

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Prefect's; that the server is away just now must not end this worker, and all runs with it."""
        try:
            await super()._submit_run(flow_run)
        except Exception as error:
            log_event("run_not_submitted", level=logging.WARNING, run=str(flow_run.id), error=repr(error))
            self._submitting_flow_run_ids.discard(flow_run.id)  # or it would be passed over for good
            if self._cancelling_observer is not None:
                self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)
        finally:
            self._queue.submitted(flow_run.id)

    async def _propose_crashed_state(
        self, flow_run: FlowRun, message: str, client: PrefectClient | None = None
    ) -> None:
        """Prefect's second try, for when the server was away at the executor's; the cause of death goes with it."""
        await super()._propose_crashed_state(flow_run, message + self.deaths.causes.pop(flow_run.id, ""), client)

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        super()._release_limit_slot(flow_run_id)
        self._queue.ended(flow_run_id)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> ProcessWorkerResult:
        """One run from its fork to its end; `task_status` hears of the process as soon as there is one."""
        status = task_status or anyio.TASK_STATUS_IGNORED
        chosen = configuration.working_dir
        with nullcontext(str(chosen)) if chosen else tempfile.TemporaryDirectory(prefix="hotdesk-run-") as folder:
            executor = self._executors.create_executor(
                flow_run,
                await self._starter(configuration, Path(folder)),
                hook_runner=self.hooks,
                propose_submitting=False,
            )
            result: FlowRunExecutionResult | None = None

            async def execute(*, task_status: anyio.abc.TaskStatus[ProcessHandle] = anyio.TASK_STATUS_IGNORED) -> None:
                nonlocal result
                result = await executor.submit(task_status=task_status)

            async with anyio.create_task_group() as group:
                handle = await group.start(execute)
                self._queue.has_process(flow_run.id, handle)
                assert handle.pid is not None, "a handle is made of a process"
                status.started(named(handle.pid))
        assert result is not None and result.status_code is not None, "the executor returns only once the process ended"
        return ProcessWorkerResult(status_code=result.status_code, identifier=str(handle.pid))

    async def kill_infrastructure(
        self, infrastructure_pid: str, configuration: ProcessJobConfiguration, grace_seconds: int = 30
    ) -> None:
        """End the very process that a run's record names, SIGTERM before SIGKILL; never a group, never a reused pid.

        Raises:
            InfrastructureNotAvailable: it is another host's, or its record does not say which process it is.
            InfrastructureNotFound: it has ended.
        """
        if is_elsewhere(infrastructure_pid):
            raise InfrastructureNotAvailable(f"{infrastructure_pid} is not a process of this host.")
        if is_gone(infrastructure_pid):
            raise InfrastructureNotFound(f"{infrastructure_pid} has ended.")
        process = identity_of(infrastructure_pid)
        if process is None:
            raise InfrastructureNotAvailable(f"{infrastructure_pid} names no process that could be told from others.")
        await to_thread.run_sync(lambda: end(process, grace_seconds=grace_seconds))

    async def _cancel_run(self, flow_run_id: UUID) -> None:
        """Prefect's worker sees to runs that did not start, its executor to those that did; orphans are ours."""
        try:
            if self.orphans.has(flow_run_id):
                await self.orphans.cancel(flow_run_id)
            else:
                await super()._cancel_run(flow_run_id)
        except Exception as error:  # it is heard of again by the next poll for cancels
            log_event("run_not_cancelled", level=logging.WARNING, run=str(flow_run_id), error=repr(error))

    def _cancel_started(self, flow_run_id: UUID) -> None:
        """In the place of the executor's own, whose failure would end the worker."""

        async def cancel() -> None:
            try:
                await self._executors._cancellation_manager.cancel_by_id(flow_run_id)
            except Exception as error:
                log_event("run_not_cancelled", level=logging.WARNING, run=str(flow_run_id), error=repr(error))

        self._executors._cancellation_task_group.start_soon(cancel)

    async def hear_cancels_again(self) -> None:
        """After an outage: Prefect's observers of cancels give up for good after 40 s without a server."""
        executors = self._executors
        if has_given_up(executors._observer):
            log_event(
                "cancels_heard_again", level=logging.WARNING, runs=len(executors._observer._in_flight_flow_run_ids)
            )
            renewed = await self._exit_stack.enter_async_context(
                FlowRunCancellingObserver(on_cancelling=self._cancel_started)
            )
            for run in executors._observer._in_flight_flow_run_ids:
                renewed.add_in_flight_flow_run_id(run)
            executors._observer = renewed
            await renewed._check_for_cancelled_flow_runs()
        if (before := self._cancelling_observer) is not None and has_given_up(before):
            self._cancelling_observer = None
            await self._setup_cancellation_observer()
            for run in before._in_flight_flow_run_ids:
                if (renewed_too := self._cancelling_observer) is not None:
                    renewed_too.add_in_flight_flow_run_id(run)

    async def _starter(self, configuration: ProcessJobConfiguration, folder: Path) -> ProcessStarter:
        """A fork; a new process where a deployment has a command of its own, or a fork would not be safe."""
        control, command = self._executors.control_channel, configuration.command
        if not configuration._command_configured and await self._can_fork():
            deployment = configuration._related_objects["deployment"]
            return ForkStarter(
                self.forks,
                self.deaths,
                self.hooks,
                control,
                env=configuration.env,
                folder=folder,
                stream_output=configuration.stream_output,
                flow=_place_of(deployment),
                deployment=deployment
                and {"id": str(deployment.id), "name": deployment.name, "version": deployment.version},
                known=await self._known.facts(self.client, now=datetime.now(UTC)),
            )
        return EngineCommandStarter(
            command=command,
            cwd=folder,
            env=configuration.env,
            stream_output=configuration.stream_output,
            control_channel=control,
        )

    async def _can_fork(self) -> bool:
        """Whether a fork server is there and safe; where it does not come up a run begins as under Prefect's worker."""
        try:
            return CAN_FORK and await self.forks.fresh() is not None and not self.forks.is_unsafe
        except NotReady as error:
            log_event("no_fork_now", level=logging.WARNING, error=str(error), instead="a new process for the run")
            return False


def has_given_up(observer: FlowRunCancellingObserver) -> bool:
    """Whether it hears of no cancel any more: neither its subscription nor the polling in its place goes on."""
    tasks = (observer._consumer_task, observer._polling_task)
    return all(task is None or task.done() for task in tasks)


def _place_of(deployment: Any) -> dict[str, str] | None:
    """File, function and folder of a flow, as bootstrap and `prefect deploy` record them; None: Prefect finds out."""
    steps = getattr(deployment, "pull_steps", None) or []
    folder = steps[0].get(SET_FOLDER, {}).get("directory") if len(steps) == 1 else None
    file, colon, function = (getattr(deployment, "entrypoint", None) or "").rpartition(":")
    return {"file": str(Path(folder) / file), "function": function, "folder": folder} if folder and colon else None
