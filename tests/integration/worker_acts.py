"""A flow that does what it is told, for tests of the worker; copied into a test's folder, so it stands alone.

It says who it is in RUN.json beside this file, and waits for RUN.go where it has to wait.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.runtime import flow_run

HERE = Path(__file__).resolve().parent
IMPORTED_BY = os.getpid()
FORM = "first form"
POLL_SECONDS, MOST_SECONDS = 0.05, 120.0


def hook(flow: Any, flow_run: Any, state: Any) -> None:
    """Says that it ran, on a line of its own each time."""
    with (HERE / f"{flow_run.id}.hooks").open("a") as file:
        file.write("hook\n")


@task
def step() -> None:
    """Where Prefect's engine looks whether it is to stop."""


@flow(name="act", on_cancellation=[hook])
def act(what: str) -> str:
    """Say who this is, then do that."""
    get_run_logger().info("first line of %s", what)
    (HERE / f"{flow_run.id}.json.part").write_text(json.dumps(_facts()))
    (HERE / f"{flow_run.id}.json.part").rename(HERE / f"{flow_run.id}.json")
    return ACTIONS[what]()


def _facts() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "preloaded": os.getpid() != IMPORTED_BY,
        "form": FORM,
        "cwd": str(Path.cwd()),
        "env": dict(os.environ),
        "level": logging.getLogger("prefect.flow_runs").getEffectiveLevel(),
        "at": time.time(),
    }


def _wait() -> str:
    ends_s = time.monotonic() + MOST_SECONDS
    while not (HERE / f"{flow_run.id}.go").exists():
        if time.monotonic() > ends_s:
            raise TimeoutError("nobody said go")
        time.sleep(POLL_SECONDS)
    return "went on"


def _step_by_step() -> str:
    ends_s = time.monotonic() + MOST_SECONDS
    while time.monotonic() < ends_s:
        step()
        time.sleep(POLL_SECONDS)
    return "nobody stopped it"


def _raise() -> str:
    raise ValueError("on purpose")


def _grow() -> str:
    Path(os.environ["GROUP"], "cgroup.procs").write_text(str(os.getpid()))
    return str(len(b"x" * 2**30))


ACTIONS = {
    "say": lambda: "said",
    "wait": _wait,
    "step": _step_by_step,
    "raise": _raise,
    "exit": lambda: sys.exit(3),
    "exit hard": lambda: os._exit(3),
    "grow": _grow,
}
