"""What there is for runs on this machine: places, free memory, and what one run takes, as measured here.

What follows from it is `governor.policy.admitting`; who starts runs is the worker.

A run is a fork that shares most of its pages with the process it came from. What one more takes, and what its end
gives back, are its private pages: those stay at 118 MiB for the same work whether 1 or 14 run, while its
proportional share (PSS) says 166 and 125, since it counts part of what is there anyway (measured).
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from governor.errors import HotdeskError
from governor.events import log_event
from governor.memory import memory
from governor.policy.admitting import Learned, Room, learned
from governor.policy.residency import FLOOR_MIB
from governor.state.sessions import recall, remember

RUN_KEY = "run_memory"
# A look at one process costs 0.8 ms (measured), at memory as a whole 0.2 ms.
LOOKS, LOOK_AGAIN_SECONDS = 4, 5.0
FREE_FOR = timedelta(seconds=0.5)
# Ended runs that the estimate is made of, and by how much it changes before it is written down.
RUNS_KEPT, CHANGE_WRITTEN = 50, 0.1


@dataclass
class _Look:
    """What was seen of one process, never at first. `own_mib` None: its memory cannot be read."""

    at_s: float = -math.inf
    own_mib: float | None = None
    most_mib: float = 0.0


def own_mib(pid: int) -> float | None:
    """Private pages of a process; None when they cannot be read, as of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    private = [line.split() for line in lines if line.startswith("Private_")]
    return sum(int(kib) for _, kib, *_ in private) / 1024 if private else None


class Admissions:
    """The facts that admission is decided from.

    Args:
        places: most runs at a time, by lane.
        free_mib: stand-ins for tests, like `own_mib` and `clock_s` (seconds of the monotonic clock).
    """

    def __init__(
        self,
        places: Mapping[str, int],
        *,
        free_mib: Callable[[], float | None] = lambda: memory("ram").free_mib(),
        own_mib: Callable[[int], float | None] = own_mib,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = dict(places)
        self._free_mib, self._own_mib, self._clock_s = free_mib, own_mib, clock_s
        self._free: tuple[datetime, float | None] | None = None
        self._looks: dict[int, _Look] = {}
        self._peaks: deque[float] = deque(maxlen=RUNS_KEPT)
        self._before = _recalled()
        self._written_mib = self._before.mib

    def room(self, *, now: datetime, working: int = 0) -> Room:
        """What there is for runs now.

        Args:
            working: how many runs of agents work; those that `measure` does not know yet have all to take that a run
                takes. So several calls in a row do not give the same memory away twice.
        """
        run_mib = learned(self._peaks, self._before).mib
        if self._free is None or not timedelta(0) <= now - self._free[0] < FREE_FOR:
            self._free = (now, self._free_mib())
        free = self._free[1]
        if free is not None:
            free -= self._still_to_take_mib(run_mib, working)
        return Room(places=self._places, free_mib=free, run_mib=run_mib, spare_mib=FLOOR_MIB)

    def measure(self, pids: Collection[int]) -> None:
        """Look at the processes of agents' runs, the longest unseen first: 4 a call, each every 5 s at most (3 ms).

        Call it with all that run, again and again: one that is missing has ended, and counts for the estimate, which
        is written down when it changed by a tenth. A write may wait for the database: call it from a thread.
        """
        now_s, there = self._clock_s(), set(pids)
        ended = [self._looks.pop(pid) for pid in list(self._looks) if pid not in there]
        for pid in there - self._looks.keys():
            self._looks[pid] = _Look()
        old = [pid for pid, look in self._looks.items() if now_s - look.at_s >= LOOK_AGAIN_SECONDS]
        for pid in sorted(old, key=lambda pid: self._looks[pid].at_s)[:LOOKS]:
            seen = self._own_mib(pid)
            most = max(self._looks[pid].most_mib, seen or 0.0)
            self._looks[pid] = _Look(at_s=now_s, own_mib=seen, most_mib=most)
        if peaks := [look.most_mib for look in ended if look.most_mib]:
            self._peaks.extend(peaks)
            self._keep(learned(self._peaks, self._before))

    def _still_to_take_mib(self, run_mib: float, working: int) -> float:
        looks = list(self._looks.values())  # `measure` may be at work in another thread
        unknown = max(0, working - len(looks)) + sum(look.at_s == -math.inf for look in looks)
        grow = sum(max(0.0, run_mib - look.own_mib) for look in looks if look.own_mib is not None)
        return unknown * run_mib + grow

    def _keep(self, found: Learned) -> None:
        if abs(found.mib - self._written_mib) <= CHANGE_WRITTEN * self._written_mib:
            return
        self._written_mib = found.mib  # also when it cannot be written: not to wait for the database at every run
        try:
            remember(RUN_KEY, found.model_dump_json())
        except (HotdeskError, SQLAlchemyError) as error:
            log_event("run_memory_not_kept", level=logging.WARNING, error=str(error))


def _recalled() -> Learned:
    """What was known of runs when this began; the constant when nothing is."""
    try:
        return Learned.model_validate_json(recall(RUN_KEY) or "{}")
    except (HotdeskError, SQLAlchemyError, ValidationError):
        return Learned()
