"""Makes a small card of a large one: takes all but so much of its memory, says how much is free, and stays.

    python -m tests.benchmarks.ballast --leave-mib 6144

A process of its own, so that the driver charges nobody else for it. It ends when its input does.
"""

import argparse
import json
import sys

from governor.sensors.gpu import Card
from tests.benchmarks.cuda import Cuda

# Large pieces first; the driver's own grain is 2 MiB.
LARGE_MIB, GRAIN_MIB = 1024, 2


def main() -> int:
    """Exit status 1 when there is no card."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ballast", description=__doc__)
    parser.add_argument("--leave-mib", type=int, required=True)
    leave_mib = parser.parse_args().leave_mib
    card, cuda = Card(), Cuda()
    took_mib = _take_all_but(leave_mib, card, cuda)
    print(json.dumps({"took_mib": took_mib, "free_mib": _free_mib(card)}), flush=True)
    sys.stdin.read()
    return 0


def _take_all_but(leave_mib: int, card: Card, cuda: Cuda) -> int:
    took_mib = 0
    while (over_mib := _free_mib(card) - leave_mib) >= GRAIN_MIB:
        piece_mib = min(LARGE_MIB, int(over_mib) // GRAIN_MIB * GRAIN_MIB)
        if cuda.take(piece_mib) is None:
            break
        took_mib += piece_mib
    return took_mib


def _free_mib(card: Card) -> float:
    """Raises RuntimeError when the driver does not say."""
    memory = card.memory_mib()
    if memory is None:
        raise RuntimeError("the driver does not say how much memory is free")
    return memory[0]


if __name__ == "__main__":
    sys.exit(main())
