"""A run whose worker died: it goes on to its end, says so, and watches for a cancel itself.

A killed worker must not cost its runs. The kernel tells of the death of the fork server (PR_SET_PDEATHSIG), which ends
with its worker; until then nothing of this runs, no thread and no look. The next worker finds the run (`orphans`), and
tells it of a cancel by the same signal.
"""

import ctypes
import os
import signal
import threading
import time
from types import FrameType
from uuid import UUID

from governor.processes import Identity, Life, identify, life

# prctl(2), linux/prctl.h
PR_SET_PDEATHSIG = 1
TOLD_BY = signal.SIGUSR1
LOOK_EVERY_SECONDS = 10.0
_once = threading.Lock()


def listen(run: str, *, worker_pid: int, fork_server_pid: int) -> None:
    """Have the kernel tell this process when its fork server ends."""
    worker = _identity_of(worker_pid)

    def told(_sign: int, _frame: FrameType | None) -> None:
        threading.Thread(target=_watch, args=(UUID(run), worker), name="alone", daemon=True).start()

    signal.signal(TOLD_BY, told)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, TOLD_BY.value, 0, 0, 0)
    if os.getppid() != fork_server_pid:  # it died in between: nobody will tell any more
        signal.raise_signal(TOLD_BY)


def _identity_of(pid: int) -> Identity | None:
    try:
        return identify(pid)
    except ProcessLookupError:
        return None


def _watch(run: UUID, worker: Identity | None) -> None:
    """While the worker lives it sees to a cancel; after that this does."""
    from prefect.client.orchestration import get_client
    from prefect.logging import get_logger

    logger = get_logger("hotdesk.forking")
    said = False
    with get_client(sync_client=True) as client:
        while True:
            if worker is None or life(worker) is Life.DEAD:
                if not said:
                    logger.warning("The worker of run %s is gone; the run goes on.", run)
                    said = True
                try:
                    state = client.read_flow_run(run).state
                except Exception as error:  # a server that is away for a while is no reason to stop
                    logger.debug("no word of run %s: %s", run, error)
                    state = None
                if state is not None and (state.is_cancelling() or state.is_cancelled()):
                    _cancel()
                    return
            time.sleep(LOOK_EVERY_SECONDS)


def _cancel() -> None:
    """The signal that a worker sends after it said why: told neither, the engine takes the signal for a crash.

    The engine sets the state and runs the hooks, which is a worker's part while there is one.
    """
    from prefect._internal import control_listener

    if _once.acquire(blocking=False):  # a second signal would cut the hooks off
        os.environ["PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS"] = "true"
        control_listener._set_intent("cancel")
        os.kill(os.getpid(), signal.SIGTERM)
