"""A run that is suspended from outside: its worker tells it, by a signal.

Prefect's engine has each run listen to the server's event stream for this alone: a connection, a thread with an event
loop and a client for every run (40 ms of the run's CPU and 30 of the server's, measured), and a run does not begin
before it is connected. The worker listens anyway, for all of them. What a suspension does is the engine's, untouched.
"""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType
from uuid import UUID

from prefect import flow_engine
from prefect._flow_run_suspension import (
    FlowRunSuspensionRequest,
    is_suspended_flow_run_state,
    mark_flow_run_suspension_requested,
)
from prefect.client.schemas.objects import State

TOLD_BY = signal.SIGUSR2
# A minute in all, beside what Prefect's client tries again by itself.
PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_log = logging.getLogger("hotdesk.forking")


def listen() -> None:
    """Take the engine's own listening away; be told from now on."""
    flow_engine.observe_flow_run_suspension = _observe  # type: ignore[attr-defined]  # where the engine finds it
    signal.signal(TOLD_BY, signal.SIG_IGN)  # until there is a run; it is read again before its first line


@contextmanager
def _observe(flow_run_id: UUID, suspension_request: FlowRunSuspensionRequest, **_polling: float) -> Iterator[None]:
    """In the place of `observe_flow_run_suspension`."""

    def told(_sign: int, _frame: FrameType | None) -> None:
        threading.Thread(target=_look, args=(flow_run_id, suspension_request), name="suspending", daemon=True).start()

    before = signal.signal(TOLD_BY, told) if threading.current_thread() is threading.main_thread() else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(TOLD_BY, before)


def _look(flow_run_id: UUID, suspension_request: FlowRunSuspensionRequest) -> None:
    """The server's word counts, not the signal."""
    state = _asked(partial(_state_of, flow_run_id))
    if state is None or not is_suspended_flow_run_state(state):
        return
    if not mark_flow_run_suspension_requested(flow_run_id, state):
        suspension_request.mark_requested(state)


def _state_of(flow_run_id: UUID) -> State | None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(flow_run_id).state


def _asked(ask: Callable[[], State | None], *, pauses_seconds: Sequence[float] = PAUSES_SECONDS) -> State | None:
    """Its answer; None where it failed after every pause. The signal comes once: a busy server must not lose it."""
    for pause_seconds in (*pauses_seconds, None):
        try:
            return ask()
        except Exception as error:  # the server is away, or has too much to do
            _log.debug("no word of a suspension: %s", error)
        if pause_seconds is not None:
            time.sleep(pause_seconds)
    return None
