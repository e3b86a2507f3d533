"""Play many schedules, or one again: `python -m tests.simulation --seeds 100000 --from 0`, `--seed 4711`."""

import argparse
import logging
import sys
import time
from collections import Counter

from tests.simulation.scenario import Schedule, Violation


def main() -> int:
    """Exit status 1 at the first violation, whose seed and log are printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    seeds = [chosen.seed] if chosen.seed is not None else range(chosen.first, chosen.first + chosen.seeds)
    fates: Counter[str] = Counter()
    started = time.monotonic()
    for seed in seeds:
        schedule = Schedule(seed)
        try:
            schedule.play()
        except Violation as broken:
            print("\n".join(schedule.world.log[-120:]))
            print(schedule.plan, schedule.pausing.plans)
            print(broken)
            return 1
        fates.update(process.fate for process in schedule.world.processes if process.is_agent)
        if chosen.seed is not None:
            print("\n".join(schedule.world.log))
    seconds = time.monotonic() - started
    print(f"{len(seeds)} schedules in {seconds:.1f} s, every invariant held; fates {dict(fates)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
