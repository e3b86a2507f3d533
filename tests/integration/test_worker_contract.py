"""Prefect's private pieces that the worker leans on: each does what is needed of it, or says what of ours breaks.

Run this and `test_child_contract` first after an update of Prefect.
"""

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse, OrchestrationResult, SetStateStatus, StateAcceptDetails
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import FlowRunExecutorContext, ProcessStarter
from prefect.runner._process_manager import ProcessHandle, ProcessManager, ProcessTerminationScope
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.runner._state_proposer import StateProposer
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables

from deployments.bootstrap_names import POOL_TYPE
from deployments.fleet_worker import FleetWorker
from deployments.forking.deaths import FOR_MEMORY, Deaths, Proposer
from deployments.forking.hooks import ForkHooks
from deployments.forking.link import Child
from deployments.forking.starter import ChildScope, ForkStarter
from governor.errors import NotReady
from governor.settings import Home
from tests.integration.contract import hold, names_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork is for Linux")
URL = "http://127.0.0.1:9/api"
SECONDS = 20.0


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """There is no server to send logs to."""
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield


# Method: (its parameters without self, whether it is a coroutine, what it must use, what of ours breaks).
OF_BASE_WORKER: dict[str, tuple[list[str], bool, set[str], str]] = {
    "start": ([], True, {"get_and_submit_flow_runs"}, "the poll never asks our queue: FleetWorker.get_and_submit..."),
    "setup": ([], True, {"_exit_stack", "_runs_task_group"}, "FleetWorker.setup: what outlives the runs, Waking.start"),
    "teardown": (["exc_info"], True, {"_scheduled_task_scopes", "_exit_stack"}, "Waking's loops never end: no stop"),
    "get_and_submit_flow_runs": ([], True, {"_get_scheduled_flow_runs"}, "FleetWorker.get_and_submit_flow_runs"),
    "_get_scheduled_flow_runs": ([], True, {"_prefetch_seconds"}, "QueueOfRuns.fill: runs are not known before"),
    "_submit_scheduled_flow_runs": (["flow_run_response"], True, {"_submit_run"}, "FleetWorker.submit_now"),
    "_submit_run": (["flow_run"], True, {"_release_limit_slot"}, "QueueOfRuns.submitted: refused runs keep a place"),
    "_submit_run_and_capture_errors": (
        ["flow_run", "task_status"],
        True,
        {"_give_worker_labels_to_flow_run", "_propose_submitting_state", "_release_limit_slot", "run"},
        "places are not given back, and runs start with calls that were left out",
    ),
    "_release_limit_slot": (["flow_run_id"], False, set(), "QueueOfRuns.ended: no place comes free"),
    "_propose_submitting_state": (["flow_run"], True, set(), "FleetWorker leaves out nothing, or too much"),
    "_give_worker_labels_to_flow_run": (["flow_run_id"], True, set(), "FleetWorker leaves out nothing, or too much"),
    "run": (["flow_run", "configuration", "task_status"], True, set(), "FleetWorker.run"),
    "get_default_base_job_template": ([], False, set(), "deployments.pool: the pool's template"),
}


@pytest.mark.parametrize("name", OF_BASE_WORKER)
def test_the_base_worker_has_what_is_overridden_and_calls_it(name: str):
    parameters, is_coroutine, uses, ours = OF_BASE_WORKER[name]
    method = getattr(BaseWorker, name, None)
    hold(callable(method), f"BaseWorker.{name}", ours)
    assert method is not None
    have = [each for each in inspect.signature(method).parameters if each != "self"]
    hold(have[: len(parameters)] == parameters, f"BaseWorker.{name}{tuple(have)}", ours)
    hold(inspect.iscoroutinefunction(method) is is_coroutine, f"BaseWorker.{name}, async or not,", ours)
    hold(uses <= names_of(method), f"BaseWorker.{name}, which uses {uses} no more,", ours)


def test_a_worker_before_its_start_has_the_attributes_that_are_read(hotdesk_home: Home):
    worker = FleetWorker("hotdesk", limit=3)
    wanted: dict[str, object] = {
        "_has_successfully_synced": False,
        "_scheduled_task_scopes": set(),
        "_runs_task_group": None,
        "_limiter": None,
        "_limit": None,
    }
    for name, value in wanted.items():
        hold(getattr(worker, name, "nothing") == value, f"BaseWorker.{name}", "FleetWorker, Waking")
    hold(isinstance(worker._exit_stack, AsyncExitStack), "BaseWorker._exit_stack", "FleetWorker.setup")
    hold(worker._prefetch_seconds >= 10, "BaseWorker(prefetch_seconds=)", "FleetWorker: runs are known before")
    assert worker.places == 3


def test_prefect_finds_the_worker_by_its_type():
    (entry,) = entry_points(group="prefect.collections", name="hotdesk")
    assert entry.value == "deployments.fleet_worker"
    hold(
        BaseWorker.get_worker_class_from_type(POOL_TYPE) is FleetWorker, "prefect.collections", "worker --type hotdesk"
    )
    template = FleetWorker.get_default_base_job_template()
    assert set(ProcessVariables.model_fields) - {"name", "labels"} <= set(template["variables"]["properties"])


def test_a_deployment_with_a_command_of_its_own_is_told_from_one_without():
    run = FlowRun(flow_id=uuid4())
    deployment = DeploymentResponse(id=uuid4(), name="d", flow_id=run.flow_id, labels={})
    for command in (None, "echo mine"):
        configuration = ProcessJobConfiguration(command=command)
        configuration.prepare_for_flow_run(run, deployment)
        hold(configuration._command_configured is (command is not None), "_command_configured", "FleetWorker._starter")
        hold(configuration._related_objects.get("deployment") is deployment, "_related_objects", "FleetWorker._starter")
        hold(configuration.command, "ProcessJobConfiguration.command", "FleetWorker._starter where it cannot fork")


def test_our_starter_and_scope_have_the_shape_of_prefects():
    for theirs, ours in ((ProcessStarter.start, ForkStarter.start), (EngineCommandStarter.start, ForkStarter.start)):
        want, have = (list(inspect.signature(each).parameters) for each in (theirs, ours))
        hold(want == have, f"ProcessStarter.start{tuple(want)}", "ForkStarter.start")
    for name in ("is_alive", "graceful_kill", "hard_kill", "close"):
        want, have = (
            list(inspect.signature(getattr(k, name)).parameters) for k in (ProcessTerminationScope, ChildScope)
        )
        hold(want == have, f"ProcessTerminationScope.{name}{tuple(want)}", "ChildScope: no run can be cancelled")
    declared = {name for name in vars(ProcessTerminationScope) if not name.startswith("_")}
    declared |= set(ProcessTerminationScope.__annotations__)
    known_names = {"is_alive", "graceful_kill", "hard_kill", "close", "wait_after_graceful_kill"}
    hold(declared <= known_names, f"ProcessTerminationScope, which has {declared}", "ChildScope lacks some")
    wanted = {"command", "cwd", "env", "stream_output", "control_channel"}
    hold(wanted <= set(inspect.signature(EngineCommandStarter).parameters), "EngineCommandStarter", "no run on macOS")


class FakeForks:
    """A FAKE fork server: each child ends at once with `status`, or cannot be made."""

    def __init__(self, status: int, refusal: Exception | None = None) -> None:
        self.status, self.refusal = status, refusal
        self.settings: dict[str, str] = {}
        self.root = Path("/checkout")
        self.requests: list[dict[str, Any]] = []

    async def fork(self, request: dict[str, Any]) -> Child:
        self.requests.append(request)
        if self.refusal is not None:
            raise self.refusal
        child = Child(os.getpid(), os.open(os.devnull, os.O_RDONLY), asyncio.get_running_loop().create_future())
        asyncio.get_running_loop().call_soon(child.end_as, self.status)
        return child


class FakeServer:
    """A FAKE of the client of a server that accepts each state."""

    def __init__(self) -> None:
        self.states: list[State[Any]] = []

    async def set_flow_run_state(self, flow_run_id: UUID, state: State[Any], force: bool = False) -> Any:
        self.states.append(state)
        return OrchestrationResult(state=state, status=SetStateStatus.ACCEPT, details=StateAcceptDetails())


async def executed(forks: FakeForks, deaths: Deaths) -> tuple[Any, FakeServer, set[UUID]]:
    """One run by Prefect's executor, as FleetWorker has it made; only server, context and fork are not real."""
    run, server, folder = FlowRun(flow_id=uuid4()), FakeServer(), deaths.vmstat.parent
    context = FlowRunExecutorContext()
    context.process_manager = ProcessManager()
    context._cancellation_manager = cast(Any, SimpleNamespace())
    context._state_proposer = Proposer(client=cast(PrefectClient, server), deaths=deaths)
    async with ControlChannel() as context.control_channel:
        hooks = ForkHooks(cast(Any, forks))
        starter = ForkStarter(
            cast(Any, forks), deaths, hooks, context.control_channel, env={"A": "1", "PATH": None}, folder=folder
        )
        executor = context.create_executor(run, starter, hook_runner=hooks, propose_submitting=False)
        hold(
            executor._state_proposer is context._state_proposer, "_state_proposer", "Proposer: deaths are not put down"
        )
        result = await asyncio.wait_for(executor.submit(), SECONDS)
        return result, server, set(context.control_channel._registrations)


def test_the_executor_runs_our_starter_to_its_end(tmp_path):
    deaths = Deaths(tmp_path / "vmstat")
    forks = FakeForks(0)
    result, server, _ = asyncio.run(executed(forks, deaths))
    hold((result.status_code, server.states) == (0, []), "FlowRunExecutor.submit", "FleetWorker.run")
    hold(result.handle.pid == os.getpid(), "FlowRunExecutionResult.handle", "FleetWorker.run: the process of a run")
    (request,) = forks.requests  # none for hooks
    env = request["env"]
    assert (env["A"], "PATH" in env, env["PREFECT__FLOW_RUN_ID"]) == ("1", False, request["run"])
    hold(env["PREFECT__CONTROL_PORT"].isdigit() and env["PREFECT__CONTROL_TOKEN"], "ControlChannel.register", "cancels")


def test_a_death_reaches_the_runs_state_with_its_cause(tmp_path):
    deaths = Deaths(tmp_path / "vmstat")
    deaths.vmstat.write_text("oom_kill 1\n")
    forks = FakeForks(-9)

    async def die() -> FakeServer:
        looked = deaths.look
        deaths.look = lambda: (looked() or 0) + len(forks.requests)  # type: ignore[method-assign]  # one more by then
        _, server, _ = await executed(forks, deaths)
        return server

    (state,) = asyncio.run(die()).states
    hold(state.type is StateType.CRASHED, "FlowRunExecutor: a status that is not 0", "crash reports")
    hold((state.message or "").endswith(FOR_MEMORY), "StateProposer.propose_crashed", "Proposer: the cause of a death")
    hold("-9" in (state.message or ""), "FlowRunExecutor: the message of a crash", "crash reports")
    want = list(inspect.signature(StateProposer.propose_crashed).parameters)
    hold(want == ["self", "flow_run", "message"], "StateProposer.propose_crashed", "Proposer")


def test_a_run_that_could_not_be_forked_is_a_crash(tmp_path):
    refusal = NotReady("No process could be made.", remedy="Look at free memory.")
    result, server, registered = asyncio.run(executed(FakeForks(0, refusal), Deaths(tmp_path / "vmstat")))
    hold(result is None, "FlowRunExecutor.submit", "FleetWorker.run: a run that did not start")
    hold([state.type for state in server.states] == [StateType.CRASHED], "FlowRunExecutor.submit", "crash reports")
    hold(registered == set(), "ControlChannel.unregister", "ForkStarter.start")


def test_prefect_cancels_our_child_and_no_other_process():
    async def cancel() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import signal; signal.pause()")
        loop = asyncio.get_running_loop()
        child = Child(process.pid, os.pidfd_open(process.pid), loop.create_future())
        watch = os.pidfd_open(process.pid)
        loop.add_reader(watch, lambda: (loop.remove_reader(watch), child.end_as(-signal.SIGTERM)))
        manager, run = ProcessManager(), uuid4()
        async with manager:
            handle = ProcessHandle(cast(Any, child), termination_scope=cast(Any, ChildScope(child)))
            hold((handle.pid, handle.returncode) == (process.pid, None), "ProcessHandle", "ForkStarter.start")
            hold(handle.raw_process is child, "ProcessHandle.raw_process", "QueueOfRuns.tell: no run hears of a pause")
            hold(handle.is_alive(), "ProcessHandle.is_alive", "ChildScope")
            await manager.add(run, handle)
            await manager.kill(run, grace_seconds=10)
            hold(not handle.is_alive(), "ProcessManager.kill", "ChildScope: cancelled runs go on")
            await manager.remove(run)
        os.close(watch)
        return await process.wait()

    assert asyncio.run(asyncio.wait_for(cancel(), SECONDS)) == -signal.SIGTERM
