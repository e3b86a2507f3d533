"""What the line needs of the world around it: clocks, bells, signals and threads.

The real ones are here; `tests/simulation` puts a seeded virtual world in their place and runs the very
same line on it. Rows are `governor.line`, Prefect is `governor.lease`.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from governor.bells import Bell, ring
from governor.processes import Identity, Life, life
from governor.shield import shielded


class Wait(Protocol):
    """Waits for a ring, for the end of a process or for some seconds, whatever comes first."""

    def wait(self, watch: Sequence[Identity], seconds: float) -> None:
        """Return at the first of them; also at once for a process that cannot be watched but is dead."""
        ...


class Background(Protocol):
    """Something that runs beside the seat."""

    def stop(self, seconds: float) -> None:
        """End it and wait until it has ended, at most `seconds`."""
        ...


class Stop(Protocol):
    """How something in the background learns that it should end."""

    def wait(self, seconds: float) -> bool:
        """Wait; True when it should end now."""
        ...


class Effects(Protocol):
    """The only door from the line to clocks, other processes and threads."""

    def now(self) -> datetime:
        """The time on the wall, aware UTC."""
        ...

    def clock_s(self) -> float:
        """Seconds of this boot that no change of the clock moves (suspended time is not counted)."""
        ...

    def pause(self, seconds: float) -> None:
        """Do nothing for a moment."""
        ...

    def bell(self, ticket_id: int) -> AbstractContextManager[Wait]:
        """The bell of one ticket, for as long as it waits."""
        ...

    def ring(self, ticket_ids: Sequence[int]) -> None:
        """Wake these tickets; one that does not wait is no error."""
        ...

    def signal(self, process: Identity, *, hard: bool) -> None:
        """SIGTERM, or SIGKILL when `hard`, to that very process and to no other with its pid."""
        ...

    def shielded(self, act: Callable[[], None]) -> None:
        """Run `act` to its end, whatever wants to interrupt it; the interruption is raised afterwards."""
        ...

    def background(self, run: Callable[[Stop], None], name: str) -> Background:
        """Start `run` beside the caller; it ends when its Stop says so."""
        ...


class RealEffects:
    """Effects on this machine. `bells` is the folder of the waiters' bells."""

    def __init__(self, bells: Path) -> None:
        self._bells = bells

    def now(self) -> datetime:
        """See Effects."""
        return datetime.now(UTC)

    def clock_s(self) -> float:
        """See Effects."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """See Effects."""
        time.sleep(seconds)

    @contextmanager
    def bell(self, ticket_id: int) -> Iterator[Wait]:
        """See Effects."""
        bell = Bell(self._bells, ticket_id)
        try:
            yield bell
        finally:
            bell.close()

    def ring(self, ticket_ids: Sequence[int]) -> None:
        """See Effects."""
        for ticket_id in ticket_ids:
            ring(self._bells, ticket_id)

    def signal(self, process: Identity, *, hard: bool) -> None:
        """See Effects. One that cannot be judged from here (another pid namespace) is left alone."""
        sign = signal.SIGKILL if hard else signal.SIGTERM
        # Gone in between, or not ours to end: it is judged again at the next look.
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else None
            try:
                if life(process) is not Life.ALIVE:
                    return
                if handle is None:
                    os.kill(process.pid, sign)
                else:
                    signal.pidfd_send_signal(handle, sign)
            finally:
                if handle is not None:
                    os.close(handle)

    def shielded(self, act: Callable[[], None]) -> None:
        """See Effects."""
        shielded(act)

    def background(self, run: Callable[[Stop], None], name: str) -> Background:
        """See Effects."""
        return _Thread(run, name)


class _Thread:
    def __init__(self, run: Callable[[Stop], None], name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=run, args=(self._stop,), name=name, daemon=True)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        self._stop.set()
        self._thread.join(seconds)
