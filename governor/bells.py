"""Bells: how the next in line wakes within a millisecond while everybody else sleeps for nothing.

Each waiting ticket has a FIFO in the state folder; who moves the line writes one byte into it. Beside
that a waiter watches the processes that concern it by pidfd, so that the end of one wakes it too. A bell
that is lost costs some tenths of a second: every wait is bounded and looks again by itself.
"""

import contextlib
import os
import select
import time
from collections.abc import Sequence
from pathlib import Path

from governor.processes import Identity, Life, life

# Where no pidfd or no FIFO is to be had (macOS, a full disk), the waiter looks this often instead.
POLL_SECONDS = 0.25
RING = b"!"
MOST_RINGS = 4096


class Bell:
    """The bell of one ticket. Not for two threads."""

    def __init__(self, folder: Path, ticket_id: int) -> None:
        self._path = folder / str(ticket_id)
        self._fifo: int | None = None
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # of a ticket of the same number, in a database set aside
                os.mkfifo(self._path, 0o600)
            # Open for writing too: a FIFO whose last writer closes it would be readable for good.
            self._fifo = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def wait(self, watch: Sequence[Identity], seconds: float) -> None:
        """Until it rings, a watched process ends, or `seconds` are over."""
        poller, handles, blind = select.poll(), [], self._fifo is None
        try:
            if self._fifo is not None:
                poller.register(self._fifo, select.POLLIN)
            for process in watch:
                handle = _pidfd(process)
                if handle is not None:
                    handles.append(handle)
                    poller.register(handle, select.POLLIN)
                elif life(process) is Life.DEAD:
                    return
                else:
                    blind = True
            poller.poll(1000 * (min(seconds, POLL_SECONDS) if blind else seconds))
            if self._fifo is not None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._fifo, MOST_RINGS)
        finally:
            for handle in handles:
                os.close(handle)

    def close(self) -> None:
        """Take the bell down."""
        if self._fifo is not None:
            os.close(self._fifo)
            self._fifo = None
        with contextlib.suppress(OSError):
            self._path.unlink()


def ring(folder: Path, ticket_id: int) -> bool:
    """Ring the bell of a ticket; False when nobody listens."""
    try:
        handle = os.open(folder / str(ticket_id), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no such bell, or one whose owner is dead
        return False
    try:
        os.write(handle, RING)
    except OSError:  # full: it rings already
        pass
    finally:
        os.close(handle)
    return True


def sweep_bells(folder: Path, older_than_seconds: float = 60.0) -> int:
    """Take down the bells that nobody listens to any more; how many. A new one may not be listened to yet."""
    done = 0
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > older_than_seconds and not ring(folder, int(path.name)):
                path.unlink()
                done += 1
    return done


def _pidfd(process: Identity) -> int | None:
    """A handle on that very process; None where the platform has none, or it is gone or out of sight."""
    if not hasattr(os, "pidfd_open") or life(process) is not Life.ALIVE:
        return None
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return None
    if life(process) is Life.DEAD:  # between the look and the handle its pid may have been given away
        os.close(handle)
        return None
    return handle
