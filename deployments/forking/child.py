"""What a forked child does: become a process of its own, run its flow by Prefect's engine, exit.

Between fork and flow it lets go of what is its parent's: descriptors, session, environment, signals. What it does
when its worker dies is `alone`.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from deployments.forking import alone, beating, known, suspending
from deployments.forking.preload import Flows

STDERR = 2
# When memory runs out the kernel shall end a run before the server, the worker or an engine; 0 is any process.
OOM_SCORE = 300


def run(message: Mapping[str, Any], flows: Flows) -> int:
    """Run the flow; the exit status that `python -m prefect.engine` would have."""
    _stand_alone(message)
    try:
        run_id, flow = UUID(message["run"]), _preloaded(message, flows)
        code = _run_hooks(run_id, flow, message["hooks"]) if message.get("hooks") else _run_flow(run_id, flow)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if error.code is not None and not isinstance(error.code, int):
            print(error.code, file=sys.stderr)  # as Python does
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    return _finish(code)


def _stand_alone(message: Mapping[str, Any]) -> None:
    os.setsid()
    os.closerange(STDERR + 1, os.sysconf("SC_OPEN_MAX"))
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.SIG_DFL)
    alone.listen(message["run"], worker_pid=message["worker"], fork_server_pid=message["server"])
    if not message["stream_output"]:
        _say_nothing()
    before = _settings_of(os.environ)
    os.environ.clear()
    os.environ.update(message["env"])
    os.chdir(message["folder"])
    time.tzset()  # TZ may be another one
    _go_first_for_memory()
    if before != _settings_of(os.environ):
        _read_settings_again()
    suspending.listen()
    beating.skip_the_first()
    known.use(message["known"], message["deployment"])


def _go_first_for_memory() -> None:
    file = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):  # it may be more already, and lowering it takes rights
        if int(file.read_text()) < OOM_SCORE:
            file.write_text(str(OOM_SCORE))


def _say_nothing() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, STDERR):
        os.dup2(null, stream)
    os.close(null)


def _settings_of(env: Mapping[str, str]) -> dict[str, str]:
    """Prefect's settings in an environment; `PREFECT__...` are facts of one run."""
    return {name: value for name, value in env.items() if name.startswith("PREFECT_") and name[8:9] != "_"}


def _read_settings_again() -> None:
    """The run has settings of its own, as by `env` of its deployment's job variables."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    refresh_global_settings_context()
    setup_logging()


def _preloaded(message: Mapping[str, Any], flows: Flows) -> Any:
    """The flow that was imported before the fork; None: the run finds and imports it itself."""
    if (place := message["flow"]) is None or (found := flows.get((place["file"], place["function"]))) is None:
        return None
    os.chdir(place["folder"])
    return found


def _run_flow(flow_run_id: UUID, flow: Any) -> int:
    """As `prefect.engine` does it as a program."""
    from prefect._internal.control_listener import configure_from_env
    from prefect._internal.metrics import RunMetrics
    from prefect.engine import _drive_run_flow_result, handle_engine_signals
    from prefect.flow_engine import load_flow, load_flow_run, run_flow
    from prefect.logging.loggers import flow_run_logger

    configure_from_env()
    with handle_engine_signals(flow_run_id):
        flow_run = load_flow_run(flow_run_id)
        logger = flow_run_logger(flow_run)
        try:
            flow = flow or load_flow(flow_run)
        except Exception:
            logger.exception("The flow could not be loaded.")
            raise
        with RunMetrics(flow_run, flow):
            made = run_flow(flow, flow_run=flow_run, error_logger=logger)  # type: ignore[arg-type]  # so does Prefect
            _drive_run_flow_result(flow, made)
    return 0


def _run_hooks(flow_run_id: UUID, flow: Any, state: Mapping[str, Any]) -> int:
    """Those of a run that crashed or was cancelled, as Prefect's worker runs them (`hooks`)."""
    import asyncio

    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flow_engine import load_flow_run
    from prefect.flows import load_flow_from_flow_run
    from prefect.runner._hook_runner import HookRunner

    async def resolve(flow_run: FlowRun) -> Any:
        return flow or await load_flow_from_flow_run(flow_run, use_placeholder_flow=False)

    flow_run, entered = load_flow_run(flow_run_id), State.model_validate(dict(state))
    runner = HookRunner(resolve_flow=resolve)
    run = runner.run_crashed_hooks if entered.is_crashed() else runner.run_cancellation_hooks
    asyncio.run(run(flow_run, entered))  # type: ignore[arg-type]  # a coroutine, whatever its annotation says
    return 0


def _finish(code: int) -> int:
    """What the interpreter does at its end: wait for threads, then flush, Prefect's last logs and events among it."""
    threading._shutdown()  # type: ignore[attr-defined]  # multiprocessing's forked children do the same
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code
