"""Prefect's private pieces that the worker leans on: each does what is needed of it, or says what of ours breaks.

Run this first after an update of Prefect.
"""

import asyncio
import inspect
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from types import CodeType, SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import prefect
import pytest
from prefect import engine, flow, flow_engine, results
from prefect._flow_run_suspension import FlowRunSuspensionRequest, is_suspended_flow_run_state
from prefect._internal import control_listener, version_checking
from prefect.client import base
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse, OrchestrationResult, SetStateStatus, StateAcceptDetails
from prefect.exceptions import Abort
from prefect.runner._control_channel import ControlChannel
from prefect.runner._flow_run_executor import FlowRunExecutorContext, ProcessStarter
from prefect.runner._process_manager import ProcessHandle, ProcessManager, ProcessTerminationScope
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.runner._state_proposer import StateProposer
from prefect.runtime import deployment as runtime_deployment
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessJobConfiguration, ProcessVariables

from deployments.bootstrap_names import POOL_TYPE
from deployments.fleet_worker import FleetWorker
from deployments.forking import beating, known, suspending
from deployments.forking.deaths import FOR_MEMORY, Deaths, Proposer
from deployments.forking.link import Child
from deployments.forking.starter import ChildScope, ForkStarter
from governor.errors import NotReady
from governor.settings import Home

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork is for Linux")
URL = "http://127.0.0.1:9/api"
SECONDS = 20.0


def hold(fact: object, piece: str, ours: str) -> None:
    """One line of the contract."""
    assert fact, f"Prefect {prefect.__version__}: {piece} is not what it was. What breaks here: {ours}"


def names_of(function: Callable[..., Any]) -> set[str]:
    """Every name that a function's code uses, those of functions within it too."""
    code = inspect.unwrap(function).__code__
    found, todo = set(), [code]
    while todo:
        one = todo.pop()
        found |= {*one.co_names, *one.co_freevars}
        todo += [each for each in one.co_consts if isinstance(each, CodeType)]
    return found


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
    deployment = DeploymentResponse(id=uuid4(), name="d", flow_id=run.flow_id)
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


async def executed(forks: FakeForks, deaths: Deaths) -> tuple[Any, FakeServer, ControlChannel]:
    """One run by Prefect's executor, as FleetWorker has it made; only server, context and fork are not real."""
    run, server = FlowRun(flow_id=uuid4()), FakeServer()
    context = FlowRunExecutorContext()
    context.process_manager = ProcessManager()
    context._cancellation_manager = cast(Any, SimpleNamespace())
    context._state_proposer = Proposer(client=cast(PrefectClient, server), deaths=deaths)
    async with ControlChannel() as context.control_channel:
        starter = ForkStarter(
            cast(Any, forks), deaths, context.control_channel, env={"A": "1", "PATH": None}, folder=deaths.vmstat.parent
        )
        executor = context.create_executor(run, starter, resolve_flow=_no_flow, propose_submitting=False)
        hold(
            executor._state_proposer is context._state_proposer, "_state_proposer", "Proposer: deaths are not put down"
        )
        return await asyncio.wait_for(executor.submit(), SECONDS), server, context.control_channel


async def _no_flow(_run: FlowRun) -> Any:
    raise LookupError("no flow, and so no hooks")


def test_the_executor_runs_our_starter_to_its_end(tmp_path):
    deaths = Deaths(tmp_path / "vmstat")
    forks = FakeForks(0)
    result, server, control = asyncio.run(executed(forks, deaths))
    hold((result.status_code, server.states) == (0, []), "FlowRunExecutor.submit", "FleetWorker.run")
    hold(result.handle.pid == os.getpid(), "FlowRunExecutionResult.handle", "FleetWorker.run: the process of a run")
    (request,) = forks.requests
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
    assert deaths.causes == {}, "told once"
    want = list(inspect.signature(StateProposer.propose_crashed).parameters)
    hold(want == ["self", "flow_run", "message"], "StateProposer.propose_crashed", "Proposer")


def test_a_run_that_could_not_be_forked_is_a_crash(tmp_path):
    refusal = NotReady("No process could be made.", remedy="Look at free memory.")
    result, server, control = asyncio.run(executed(FakeForks(0, refusal), Deaths(tmp_path / "vmstat")))
    hold(result is None, "FlowRunExecutor.submit", "FleetWorker.run: a run that did not start")
    print("MESSAGE", server.states[0].message)
    hold([state.type for state in server.states] == [StateType.CRASHED], "FlowRunExecutor.submit", "crash reports")
    hold(control._registrations == {}, "ControlChannel.unregister", "ForkStarter.start")


def test_prefect_cancels_our_child_and_no_other_process():
    async def cancel() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import signal; signal.pause()")
        loop = asyncio.get_running_loop()
        child = Child(process.pid, os.pidfd_open(process.pid), loop.create_future())
        watch = os.pidfd_open(process.pid)
        loop.add_reader(watch, lambda: (loop.remove_reader(watch), child.end_as(-signal.SIGTERM)))
        manager, run = ProcessManager(), uuid4()
        async with manager:
            handle = ProcessHandle(cast(Any, child), termination_scope=ChildScope(child))
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


def test_a_control_channel_that_does_not_run_refuses_to_register():
    with pytest.raises(RuntimeError):
        ControlChannel().register(uuid4())
    wanted = {"PREFECT__CONTROL_PORT", "PREFECT__CONTROL_TOKEN"}
    constants = {each for each in control_listener.configure_from_env.__code__.co_consts if isinstance(each, str)}
    hold(
        wanted <= constants,
        "control_listener.configure_from_env",
        "ForkStarter._control: cancels without on_cancellation",
    )


@flow
def plain() -> int:
    return 1


def engine_of(run: FlowRun) -> Any:
    return flow_engine.FlowRunEngine(flow=plain, flow_run=run)


def test_the_engine_listens_for_a_suspension_where_we_take_it_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(flow_engine, "observe_flow_run_suspension", flow_engine.observe_flow_run_suspension)
    was = signal.getsignal(suspending.TOLD_BY)
    try:
        suspending.listen()
        one = engine_of(FlowRun(flow_id=uuid4(), deployment_id=uuid4()))
        with one.setup_flow_run_suspension_request() as request:
            hold(isinstance(request, FlowRunSuspensionRequest), "setup_flow_run_suspension_request", "suspending")
            hears = callable(signal.getsignal(suspending.TOLD_BY))
            hold(hears, "observe_flow_run_suspension by the module's name", "suspending: each run connects for itself")
        assert signal.getsignal(suspending.TOLD_BY) == signal.SIG_IGN
    finally:
        signal.signal(suspending.TOLD_BY, was)
    suspended = State(type=StateType.PAUSED, name="Suspended")
    request.mark_requested(suspended)
    hold(
        request.is_requested() and is_suspended_flow_run_state(suspended),
        "FlowRunSuspensionRequest",
        "suspending._look",
    )


def test_the_first_heartbeat_is_left_out_and_later_ones_are_not(monkeypatch: pytest.MonkeyPatch):
    kind = flow_engine.BaseFlowRunEngine
    beats: list[str] = []
    monkeypatch.setattr(kind, "_emit_flow_run_heartbeat", lambda self, *_: beats.append("beat"))
    monkeypatch.setattr(flow_engine, "MINIMUM_HEARTBEAT_INTERVAL", 30)
    hold("_emit_flow_run_heartbeat" in names_of(flow_engine._send_heartbeats), "_send_heartbeats", "beating")
    monkeypatch.setattr(beating, "MINIMUM_HEARTBEAT_INTERVAL", 30)
    beating.skip_the_first()
    engine_of(FlowRun(flow_id=uuid4()))._emit_flow_run_heartbeat(None, None)
    assert beats == []
    monkeypatch.setattr(beating, "MINIMUM_HEARTBEAT_INTERVAL", 0)  # as if half a minute had passed
    engine_of(FlowRun(flow_id=uuid4()))._emit_flow_run_heartbeat(None, None)
    hold(beats == ["beat"], "BaseFlowRunEngine._emit_flow_run_heartbeat", "beating: automations on heartbeats")


@pytest.fixture
def own_clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `known` changes in Prefect's classes ends with the test."""
    for kind in (base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient):
        for name in ("__init__", "_add_csrf_headers"):
            monkeypatch.setattr(kind, name, getattr(kind, name))
    monkeypatch.setattr(
        results, "_read_server_default_result_storage_block_id", results._read_server_default_result_storage_block_id
    )
    monkeypatch.setattr(version_checking, "_API_VERSION_CHECK_CACHE", set())
    monkeypatch.setattr(runtime_deployment, "CACHED_DEPLOYMENT", {})
    yield


def posted(kind: type[Any]) -> httpx.Request:
    """What a client of that kind sends to a FAKE server that has a token for everyone."""
    seen: list[httpx.Request] = []
    ends = datetime.now(UTC) + timedelta(hours=1)

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        name = request.url.params.get("client", "")
        return httpx.Response(200, json={"token": "own", "client": name, "expiration": ends.isoformat()})

    client = kind(base_url=URL, transport=httpx.MockTransport(answer), enable_csrf_support=True)
    answered = client.post("/logs")
    if inspect.isawaitable(answered):
        asyncio.run(_wait_for(answered))
    return seen[-1]


async def _wait_for(what: Awaitable[Any]) -> Any:
    return await what


@pytest.mark.parametrize("kind", [base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient])
@pytest.mark.parametrize(("lasts", "value"), [(timedelta(hours=1), "shared"), (timedelta(seconds=-1), "own")])
def test_a_client_begins_with_the_token_that_it_was_told(own_clients, kind: type[Any], lasts: timedelta, value: str):
    name = str(uuid4())
    token = {"client": name, "value": "shared", "ends": (datetime.now(UTC) + lasts).isoformat()}
    known.use({"token": token}, None)
    request = posted(kind)
    hold(request.headers.get("Prefect-Csrf-Token") == value, f"{kind.__name__}._add_csrf_headers", "known: tokens")
    is_shared = request.headers.get("Prefect-Csrf-Client") == name
    hold(is_shared is (value == "shared"), f"{kind.__name__}.csrf_client_id", "known: one run ends the others' token")


@pytest.mark.parametrize("kind", [base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient])
def test_a_client_of_prefects_asks_as_the_worker_does(kind: type[Any]):
    client = kind(base_url=URL)
    for name in ("csrf_token", "csrf_token_expiration"):
        hold(getattr(client, name, "nothing") is None, f"{kind.__name__}.{name}", "known: tokens")
    hold(isinstance(client.csrf_client_id, UUID), f"{kind.__name__}.csrf_client_id", "known: tokens")
    hold(posted(kind).headers["Prefect-Csrf-Token"] == "own", f"{kind.__name__}.send", "known: tokens")


def test_a_workers_client_has_what_known_reads_of_it():
    client = PrefectClient(URL)
    hold(isinstance(client._client, base.PrefectHttpxAsyncClient), "PrefectClient._client", "Known._ask")
    hold(str(client.api_url).rstrip("/") == URL, "PrefectClient.api_url", "known: the version is asked for again")
    for name in ("read_deployment", "read_flow", "read_server_default_result_storage"):
        hold(inspect.iscoroutinefunction(getattr(client, name, None)), f"PrefectClient.{name}", "known")
    for name in ("read_deployment", "read_flow"):
        (which, *_rest) = inspect.signature(getattr(client, name)).parameters
        hold(which.endswith("_id"), f"PrefectClient.{name}({which})", "known.read_once")


def test_a_server_whose_version_is_known_is_not_asked_for_it(own_clients):
    url = str(PrefectClient(URL).api_url)
    known.use({"url": url}, None)
    for client in (PrefectClient(URL), SyncPrefectClient(URL)):
        key = version_checking._api_version_check_key(str(client.api_url), client.client_version())
        hold(
            version_checking._is_api_version_check_cached(key), "_api_version_check_key", "known: the version is asked"
        )
        names = names_of(client.raise_for_api_version_mismatch_once)
        hold(
            "_is_api_version_check_cached" in names,
            "raise_for_api_version_mismatch_once",
            "known: the version is asked",
        )
    asyncio.run(version_checking.check_server_version(url, logging.getLogger("contract")))  # nobody listens there


@pytest.mark.parametrize("storage", ["", str(UUID(int=5))])
def test_where_results_are_kept_is_not_asked_for(own_clients, storage: str):
    known.use({"storage": storage}, None)
    found = results._read_server_default_result_storage_block_id()
    assert found == (UUID(storage) if storage else None)
    name = "_read_server_default_result_storage_block_id"
    hold(name in names_of(results._get_default_result_storage), f"results.{name}", "known: storage is asked for")
    if not storage:
        source = results._get_default_result_storage().source
        hold(source is results._DefaultResultStorageSource.LOCAL_STORAGE_PATH, f"results.{name}", "known: storage")


def test_the_deployments_name_is_not_asked_for(own_clients):
    which = str(uuid4())
    known.use({}, {"id": which, "name": "news", "version": "2"})
    found = asyncio.run(runtime_deployment._get_deployment(which))
    hold((found.name, found.version) == ("news", "2"), "runtime.deployment.CACHED_DEPLOYMENT", "known: deployments")
    read = names_of(runtime_deployment.get_name) | names_of(runtime_deployment.get_version)
    hold({"name", "version"} <= read, "runtime.deployment.get_name", "known: deployments")


@pytest.mark.parametrize(
    ("raised", "status"), [(Abort("no"), 0), (ValueError("bad"), 1), (SystemExit(7), 7), (KeyboardInterrupt(), None)]
)
def test_the_engine_turns_errors_into_exit_codes(raised: BaseException, status: int | None):
    with pytest.raises(BaseException) as caught, engine.handle_engine_signals(uuid4()):
        raise raised
    code = caught.value.code if isinstance(caught.value, SystemExit) else None
    hold(code == status, "prefect.engine.handle_engine_signals", "child._run_flow: exit codes")


def test_the_engine_drives_what_run_flow_gives_it():
    done: list[str] = []

    async def later() -> None:
        done.append("async")

    for is_async, is_generator, made in ((True, False, later()), (False, True, (done.append("gen") for _ in "1"))):
        engine._drive_run_flow_result(SimpleNamespace(isasync=is_async, isgenerator=is_generator), made)
    engine._drive_run_flow_result(plain, 1)
    hold(done == ["async", "gen"], "prefect.engine._drive_run_flow_result", "child._run_flow: async flows do nothing")


@pytest.mark.parametrize(
    ("piece", "parameters"),
    [
        ("prefect.flow_engine:load_flow_run", {"flow_run_id"}),
        ("prefect.flow_engine:load_flow", {"flow_run"}),
        ("prefect.flow_engine:run_flow", {"flow", "flow_run", "error_logger"}),
        ("prefect.logging.loggers:flow_run_logger", {"flow_run"}),
        ("prefect._internal.metrics:RunMetrics", {"flow_run", "flow"}),
        ("prefect._internal.control_listener:configure_from_env", set()),
        ("prefect.context:refresh_global_settings_context", set()),
        ("prefect.logging.configuration:setup_logging", set()),
        ("prefect._flow_run_suspension:mark_flow_run_suspension_requested", {"flow_run_id", "state"}),
    ],
)
def test_what_a_child_calls_is_there(piece: str, parameters: set[str]):
    module, _, name = piece.partition(":")
    found = getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name, None)
    hold(found, piece, "deployments.forking.child, suspending")
    assert found is not None
    have = set(inspect.signature(found).parameters)
    hold(parameters <= have, f"{piece}{tuple(have)}", "deployments.forking.child, suspending")


def test_python_ends_as_a_child_ends_it():
    import atexit
    import threading

    hold(callable(getattr(threading, "_shutdown", None)), "threading._shutdown (Python's)", "child._finish")
    hold(callable(getattr(atexit, "_run_exitfuncs", None)), "atexit._run_exitfuncs (Python's)", "child._finish")
