"""What the card and the engine's log show during a run, seen by a thread that asks for nothing else."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from governor.engines import llama_router
from governor.memory import Memory
from tests.benchmarks.gpu_faults import EngineLog

# The driver answers in 6 us; the pretended card takes milliseconds.
CARD_SECONDS, PRETEND_SECONDS = 0.004, 0.1
LOG_SECONDS = 0.25
# A change of less is no event.
CHANGE_MIB = 1.0


@dataclass
class CardWatch:
    """What was free, by moments of the monotonic clock, and what engine processes did wrong."""

    where: Memory
    every_seconds: float
    free: list[tuple[float, float]] = field(default_factory=list)
    log: EngineLog = field(default_factory=lambda: EngineLog(llama_router.log_file()))
    _over: threading.Event = field(default_factory=threading.Event)

    def lowest_mib(self, since_s: float, until_s: float) -> float | None:
        """The least that was free in between."""
        return min((mib for at_s, mib in self.free if since_s <= at_s <= until_s), default=None)

    def first_at_most(self, mib: float, since_s: float) -> float | None:
        """When so little was free for the first time."""
        return next((at_s for at_s, free_mib in self.free if at_s >= since_s and free_mib <= mib), None)

    def free_at(self, at_s: float) -> float | None:
        """What was free at that moment."""
        return next((mib for seen_s, mib in reversed(self.free) if seen_s <= at_s), None)

    def run(self) -> None:
        """Watch until it is over."""
        looked_s = 0.0
        while not self._over.wait(self.every_seconds):
            free_mib, now_s = self.where.free_mib(), time.monotonic()
            if free_mib is not None and (not self.free or abs(free_mib - self.free[-1][1]) >= CHANGE_MIB):
                self.free.append((now_s, free_mib))
            if now_s - looked_s >= LOG_SECONDS:
                looked_s = now_s
                self.log.look()

    def stop(self) -> None:
        """The last look at the log was made once `run` returns."""
        self._over.set()


@contextmanager
def watching(where: Memory, *, pretend: bool) -> Iterator[CardWatch]:
    """The watch beside the block."""
    watch = CardWatch(where, PRETEND_SECONDS if pretend else CARD_SECONDS)
    watch.log.look()
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
        watch.log.look()
