"""Processes forked from one that imported everything once, so that fifty imports disturb no measurement.

The parent has one thread and no open connection when it forks. Each child has a pipe to the parent and is
ended by its own pid, whatever happens.
"""

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

_fork = multiprocessing.get_context("fork")
# A killed process is gone in milliseconds; one in an uninterruptible wait for the disk takes longer.
GONE_SECONDS = 20.0


class Silent(Exception):
    """A child said nothing in time, or ended before it said what it should."""


@dataclass(frozen=True)
class Child:
    """One forked process."""

    process: BaseProcess
    pipe: Connection

    @property
    def pid(self) -> int:
        """Its pid."""
        assert self.process.pid is not None  # it was started
        return self.process.pid

    def hear(self, seconds: float) -> Any:
        """The next thing it says.

        Raises:
            Silent: nothing within `seconds`, or it ended.
        """
        try:
            if self.pipe.poll(seconds):
                return self.pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise Silent(f"the child {self.pid} ended (exit code {self._exit_code()}) without a word") from error
        raise Silent(f"the child {self.pid} said nothing for {seconds:.0f} s")

    def kill(self) -> None:
        """SIGKILL, and no wait for its end."""
        os.kill(self.pid, signal.SIGKILL)

    def _exit_code(self) -> int | None:
        self.process.join(GONE_SECONDS)
        return self.process.exitcode


class Crew:
    """Starts children; as a context manager, it kills those that still run at the end, and reaps all."""

    def __init__(self) -> None:
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def start(self, work: Callable[..., None], *args: Any) -> Child:
        """Fork a process that calls `work(pipe, *args)` and ends.

        Raises:
            RuntimeError: this process has several threads, so that a fork of it may hang.
        """
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > 1:
            raise RuntimeError(f"the parent has {threads} threads and must have one when it forks")
        gc.freeze()  # or the children's collector would copy every page that they share
        mine, theirs = cast("tuple[Connection, Connection]", Pipe())  # the other kind is of Windows
        others = [child.pipe for child in self._children if not child.pipe.closed]
        process = _fork.Process(target=_run, args=(work, theirs, [*others, mine], args), daemon=True)
        process.start()
        theirs.close()
        child = Child(process, mine)
        self._children.append(child)
        return child

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            if child.process.is_alive():
                child.kill()
        for child in self._children:
            child.process.join(GONE_SECONDS)
            child.pipe.close()
        left = [child.pid for child in self._children if child.process.is_alive()]
        if left and error is None:
            raise RuntimeError(f"these children could not be ended: {left}")


def first_to_speak(children: Sequence[Child], seconds: float) -> Child:
    """Whichever of them has something to say.

    Raises:
        Silent: none of them within `seconds`.
    """
    ready = wait([child.pipe for child in children], seconds)
    found = next((child for child in children if child.pipe in ready), None)
    if found is None:
        raise Silent(f"none of {len(children)} children said anything for {seconds:.0f} s")
    return found


def _run(work: Callable[..., None], pipe: Connection, inherited: Sequence[Connection], args: Sequence[Any]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its children
    for other in inherited:  # else nobody would see the end of the parent
        other.close()
    with pipe:
        work(pipe, *args)
