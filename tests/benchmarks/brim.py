"""A neighbour that fills the card to the brim: 50 MiB at a time until the driver refuses, and some time beyond that.

At the line `slow` it hurries while much is free and takes a step every 8 s from 260 MiB on, so that everything that
is done about it has time to show; at `fast` it takes a step every 40 ms, whatever is free. Once it was refused it holds
what it has and goes on trying for a while, so what is freed meanwhile it takes too; then it gives everything back and
says what it did, in a line of JSON. What the driver refuses it counts against nobody. It ends when its input does.
"""

import argparse
import contextlib
import json
import os
import select
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from tests.benchmarks.neighbour import OnCard, Source

STEP_MIB = 50
FAST_SECONDS = 0.04
# The slow pace by what is free: a step every so many seconds while more than so many MiB are.
PACE = ((1024.0, 0.1), (260.0, 0.4), (100.0, 8.0), (0.0, 4.0))
HOLD_SECONDS = {"slow": 10.0, "fast": 30.0}


@dataclass
class Told:
    """What came of one word. Moments are seconds of the monotonic clock, the same in every process."""

    pace: str
    began_s: float
    refused_s: float | None = None
    gave_back_s: float | None = None
    refusals: int = 0
    steps: int = 0
    most_mib: int = 0
    free_mib_when_refused: float | None = None


class Pretended:
    """Memory of this process, as a part of the pretended card."""

    def __init__(self, budget_mib: float) -> None:
        from tests.benchmarks.gpu_ground import PretendCard

        PretendCard.neighbour_pid, PretendCard.budget_mib = os.getpid(), budget_mib
        self._card = PretendCard()

    def take(self, mib: int) -> Any:
        """Touched, so that it is really there; refused when the pretended card has no room."""
        return None if self.free_mib() < mib else bytearray(b"\1") * (mib * 1024 * 1024)

    def give(self, handle: Any) -> None:
        """Nothing to do: the caller has the last reference."""

    def free_mib(self) -> float:
        """Of the pretended card."""
        return self._card.free_mib() or 0.0


def main() -> None:
    """Say `ready`, then carry out each word of the input."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.brim", description=__doc__)
    parser.add_argument("--pretend-mib", type=float, help="of a pretended card")
    pretend_mib = parser.parse_args().pretend_mib
    source: Source = OnCard() if pretend_mib is None else Pretended(pretend_mib)
    print("ready", flush=True)
    with contextlib.suppress(EOFError):
        while True:
            word = sys.stdin.readline().strip()
            if not word:
                return
            print(json.dumps(asdict(_fill(word, source))), flush=True)


def _fill(word: str, source: Source) -> Told:
    told, held = Told(word, time.monotonic()), []
    try:
        while told.refused_s is None or time.monotonic() < told.refused_s + HOLD_SECONDS[word]:
            free_mib = source.free_mib()
            piece = source.take(STEP_MIB)
            if piece is None:
                told.refusals += 1
                if told.refused_s is None:
                    told.refused_s, told.free_mib_when_refused = time.monotonic(), round(free_mib, 1)
            else:
                held.append(piece)
                told.steps += 1
                told.most_mib = max(told.most_mib, STEP_MIB * len(held))
            _rest(FAST_SECONDS if word == "fast" else _pace_s(free_mib - STEP_MIB, piece is None))
    finally:
        while held:
            source.give(held.pop())
        told.gave_back_s = time.monotonic()
    return told


def _pace_s(free_mib: float, refused: bool) -> float:
    if refused:
        return 1.0
    return next((seconds for above_mib, seconds in PACE if free_mib > above_mib), PACE[-1][1])


def _rest(seconds: float) -> None:
    """Raises EOFError when the input ended meanwhile."""
    if select.select([sys.stdin], [], [], seconds)[0]:
        raise EOFError


if __name__ == "__main__":
    main()
