"""Somebody else at the card: takes memory and gives it back, at seeded times, asking nobody.

What it does, exactly: it draws an amount (0.1 to 1.5 GiB, or nothing one time in four) and moves towards it in pieces
of 32 MiB, upwards at 256 MiB/s at most, downwards at once; when it is there, or may not take more, it rests for 0.1
to 1.5 s and draws again. It does so while models are admitted, loaded, used and evicted, and knows nothing of them.
It takes nothing when less than 232 MiB are free, so 200 MiB stay: half of the reserve that admission keeps for a
desktop. What the driver refuses it does not count against anybody but itself. With `--pretend` it takes memory of
its own process instead, for a run without a card.

It starts at the line `go` on its input and ends, with a line of JSON, when its input does.
"""

import argparse
import json
import random
import select
import sys
import time
from typing import Any, Protocol

PIECE_MIB = 32
MOST_MIB, LEAST_MIB = 1536, 100
RATE_MIB_PER_S = 256.0
KEEP_FREE_MIB = 200.0
REST_SECONDS = (0.1, 1.5)


class Source(Protocol):
    """Where it takes from."""

    def take(self, mib: int) -> Any:
        """A handle, None when refused."""
        ...

    def give(self, handle: Any) -> None:
        """Back."""
        ...

    def free_mib(self) -> float:
        """What anybody could take."""
        ...


class OnCard:
    """Memory of the first card."""

    def __init__(self) -> None:
        from governor.sensors.gpu import Card
        from tests.benchmarks.cuda import Cuda

        self._card, self._cuda = Card(), Cuda()
        self.take, self.give = self._cuda.take, self._cuda.give

    def free_mib(self) -> float:
        """As the driver says; nothing when it does not say."""
        memory = self._card.memory_mib()
        return memory[0] if memory else 0.0


class OwnMemory:
    """Memory of this process, up to a bound that stands for the card's."""

    def __init__(self, most_mib: int) -> None:
        self._left_mib = most_mib

    def take(self, mib: int) -> Any:
        """Touched, so that it is really there."""
        if mib > self._left_mib:
            return None
        self._left_mib -= mib
        return bytearray(b"\1") * (mib * 1024 * 1024)

    def give(self, handle: Any) -> None:
        """Forget it: the caller has the last reference."""
        self._left_mib += len(handle) // 1024 // 1024

    def free_mib(self) -> float:
        """All that is left of the bound; the watcher of the run counts this process's memory."""
        return self._left_mib + KEEP_FREE_MIB


def main() -> None:
    """Say `ready`, wait for `go`, take and give until the input ends, report."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.neighbour", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-mib", type=int, default=MOST_MIB)
    parser.add_argument("--pretend", action="store_true")
    options = parser.parse_args()
    source: Source = OwnMemory(options.most_mib) if options.pretend else OnCard()
    print("ready", flush=True)
    if sys.stdin.readline():
        print(json.dumps(_live(source, random.Random(options.seed), options.most_mib)), flush=True)


def _live(source: Source, dice: random.Random, most_mib: int) -> dict[str, Any]:
    """Until the input ends; what was done."""
    held: list[Any] = []
    done = {"wishes": 0, "pieces_taken": 0, "pieces_given": 0, "refused": 0, "most_mib": 0}
    least_free_mib = source.free_mib()
    while True:
        wanted = 0 if dice.random() < 0.25 else dice.randint(min(LEAST_MIB, most_mib), most_mib) // PIECE_MIB
        done["wishes"] += 1
        while len(held) > wanted:
            source.give(held.pop())
            done["pieces_given"] += 1
        while len(held) < wanted and source.free_mib() >= KEEP_FREE_MIB + PIECE_MIB:
            piece = source.take(PIECE_MIB)
            if piece is None:
                done["refused"] += 1
                break
            held.append(piece)
            done["pieces_taken"] += 1
            least_free_mib = min(least_free_mib, source.free_mib())
            if _ended(PIECE_MIB / RATE_MIB_PER_S):
                return done | {"least_free_mib_after_taking": round(least_free_mib)}
        done["most_mib"] = max(done["most_mib"], len(held) * PIECE_MIB)
        if _ended(dice.uniform(*REST_SECONDS)):
            return done | {"least_free_mib_after_taking": round(least_free_mib)}


def _ended(seconds: float) -> bool:
    """Wait so long; whether the input ended meanwhile."""
    end_s = time.monotonic() + seconds
    while (left := end_s - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left)[0] and not sys.stdin.readline():
            return True
    return False


if __name__ == "__main__":
    main()
