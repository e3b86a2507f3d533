"""Run something to its end although a signal, a timeout or a cancellation wants this thread to stop.

An increment in flight must never be given up: its answer would be a lease that nobody knows. Prefect
ends runs by exceptions in the thread of the flow (SIGTERM, its cancel scopes), so the work is done in
another one, and what interrupted the caller is raised once that is over.
"""

import _thread
import contextvars
import threading
from collections.abc import Callable

NO_THREAD = "can't start new thread"


def shielded(act: Callable[[], None]) -> None:
    """Call `act` and return when it is done; whatever interrupts the caller meanwhile is raised then.

    Raises:
        BaseException: what `act` raised; an interruption of the caller goes first.
    """
    failures: list[BaseException] = []
    over: list[bool] = []
    # A plain lock: Thread.join takes a running thread for ended when a signal interrupts it (bpo-45274).
    done = threading.Lock()
    done.acquire()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            context.run(act)
        except BaseException as error:  # handed to the caller below
            failures.append(error)
        finally:
            over.append(True)
            done.release()

    interruption = _start(run)
    while not over:
        try:
            done.acquire()
        except BaseException as error:  # a signal's or a cancel scope's: kept until the work is done
            interruption = interruption or error
    if interruption is not None:
        raise interruption
    if failures:
        raise failures[0]


def _start(run: Callable[[], None]) -> BaseException | None:
    """Start the thread; what interrupted the caller just then. Thread.start waits, and could be cut off there."""
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError as error:
        if NO_THREAD in str(error):
            raise
        return error
    except BaseException as error:  # the call was over: the interpreter looks for signals after it
        return error
    return None
