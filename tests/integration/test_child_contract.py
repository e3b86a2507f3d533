"""Prefect's private pieces that a forked child leans on: each does what is needed of it, or says what of ours breaks.

Run this and `test_worker_contract` first after an update of Prefect.
"""

import asyncio
import inspect
import logging
import signal
import sys
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect import engine, flow, flow_engine, results
from prefect._flow_run_suspension import (
    FlowRunSuspensionRequest,
    is_suspended_flow_run_state,
    observe_flow_run_suspension,
)
from prefect._internal import control_listener, version_checking
from prefect.client import base
from prefect.client.orchestration import PrefectClient, SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Abort
from prefect.runner._control_channel import ControlChannel
from prefect.runtime import deployment as runtime_deployment

from deployments.forking import beating, known, suspending
from tests.integration.contract import hold, names_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="fork is for Linux")
URL = "http://127.0.0.1:9/api"
SECONDS = 20.0


def test_a_control_channel_that_does_not_run_refuses_to_register():
    with pytest.raises(RuntimeError):
        ControlChannel().register(uuid4())
    wanted = {"PREFECT__CONTROL_PORT", "PREFECT__CONTROL_TOKEN"}
    constants = {each for each in control_listener.configure_from_env.__code__.co_consts if isinstance(each, str)}
    hold(
        wanted <= constants,
        "control_listener.configure_from_env",
        "ForkStarter._control: hooks of a cancelled run",
    )


@flow
def plain() -> int:
    return 1


def engine_of(run: FlowRun) -> Any:
    return flow_engine.FlowRunEngine(flow=plain, flow_run=run)


def test_the_engine_listens_for_a_suspension_where_we_take_it_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(flow_engine, "observe_flow_run_suspension", observe_flow_run_suspension)
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
        hold(version_checking._is_api_version_check_cached(key), "_api_version_check_key", "known: versions")
        names = names_of(client.raise_for_api_version_mismatch_once)
        hold(
            "_is_api_version_check_cached" in names,
            "raise_for_api_version_mismatch_once",
            "known: versions",
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
        ("prefect._internal.control_listener:_set_intent", {"value"}),
        ("prefect.runner._hook_runner:HookRunner", {"resolve_flow"}),
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
