"""Run something to its end although a signal, a timeout or a cancellation wants this thread to stop.

An increment in flight must never be given up: its answer would be a lease that nobody knows. Prefect
ends runs by exceptions in the thread of the flow (SIGTERM, its cancel scopes), so the work is done in
another one, and what interrupted the caller is raised once that is over.
"""

import _thread
import contextvars
import sys
import threading
from collections.abc import Callable


def shielded(act: Callable[[], None]) -> None:
    """Call `act` and return when it is done; whatever interrupts the caller meanwhile is raised then.

    Where no thread can be had any more (the interpreter ends, the limit of processes is reached), `act` is
    called here: done without a shield is better than not done.

    Raises:
        BaseException: what `act` raised; an interruption of the caller goes first.
    """
    work = _Work(act)
    if sys.is_finalizing():
        work.run()
    else:
        work.start()
    try:
        interruption = work.wait()
    except BaseException as error:  # a second one, between two statements of the wait
        interruption = error
        work.wait()
    for error in (interruption, work.interruption, *work.failures):
        if error is not None:
            raise error


class _Work:
    """One call, made once, by whoever claims it first."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self._context = act, contextvars.copy_context()
        self._claim = threading.Lock()
        # A plain lock: Thread.join takes a running thread for ended when a signal interrupts it (bpo-45274).
        self._done = threading.Lock()
        self._done.acquire()
        self._over: list[bool] = []
        self.failures: list[BaseException] = []
        self.interruption: BaseException | None = None

    def start(self) -> None:
        """Start a thread. `Thread.start` waits for it, and could be cut off there."""
        try:
            _thread.start_new_thread(self.run, ())
        except RuntimeError as error:  # no thread to be had, or a signal's handler raised it after the call
            self.interruption = None if "thread" in str(error) else error
            self.run()
        except BaseException as error:  # the call was over: the interpreter looks for signals after it
            self.interruption = error

    def run(self) -> None:
        """Make the call unless the other one made it."""
        if not self._claim.acquire(blocking=False):
            return
        try:
            self._context.run(self._act)
        except BaseException as error:  # handed to the caller by `shielded`
            self.failures.append(error)
        finally:
            self._over.append(True)
            self._done.release()

    def wait(self) -> BaseException | None:
        """Until it is over; the first interruption meanwhile."""
        interruption: BaseException | None = None
        while True:
            try:
                while not self._over:
                    self._done.acquire()
                return interruption
            except BaseException as error:
                interruption = interruption or error
