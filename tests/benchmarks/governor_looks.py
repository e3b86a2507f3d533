"""The governor's flow, without Prefect's wrapper: `govern_for` again and again, and what each of its looks costs.

A process of its own, as the flow's is. It ends when its input does, and says a line of JSON then. Between two calls it
rests for 5 s (the deployment: three minutes), so that a run of some minutes sees it at work.
"""

import argparse
import json
import statistics
import sys
import threading
import time
from collections import defaultdict
from datetime import datetime
from typing import Any

import prefect.events  # noqa: F401  # the flow's process has paid for this import before it looks

from governor.looking import Sensors
from governor.policy.facts import Reading
from governor.standing import known_rules
from governor.tick import WATCH_SECONDS, govern_for
from tests.benchmarks import gpu_ground
from tests.benchmarks.report import percentile, rounded

BETWEEN_SECONDS = 5.0


class Over(Exception):
    """The input ended."""


class Timed:
    """The senses and the pauses of `govern_for`: what passes between two pauses is one look, with all that it did."""

    def __init__(self, sensors: Sensors, over: threading.Event) -> None:
        self.cpu_ms: dict[str, list[float]] = defaultdict(list)
        self._over, self._sensors, self._costly = over, sensors, False
        self._began_s = time.process_time()

    def senses(self, now: datetime, clock_s: float, costly: bool) -> list[Reading]:
        """As the sensors say."""
        self._costly = costly
        return self._sensors(now, clock_s, costly)

    def pause(self, seconds: float) -> None:
        """Between two looks. Raises Over."""
        self.note()
        if self._over.wait(seconds):
            raise Over
        self._began_s = time.process_time()

    def note(self) -> None:
        """A look is over."""
        self.cpu_ms["full" if self._costly else "cheap"].append(1000 * (time.process_time() - self._began_s))


def main() -> None:
    """Look until the input ends; then say what it cost."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.governor_looks", description=__doc__)
    parser.add_argument("--pretend-mib", type=float)
    parser.add_argument("--pretend-neighbour", type=int)
    options = parser.parse_args()
    pretended = options.pretend_mib is not None
    if pretended:
        gpu_ground.pretend_here(options.pretend_mib, options.pretend_neighbour)
    over, failures = threading.Event(), list[str]()
    threading.Thread(target=_until_input_ends, args=(over,), daemon=True).start()
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    while not over.is_set():
        # The flow opens its sensors anew each time.
        timed = Timed(gpu_ground.pretended_sensors() if pretended else Sensors(), over)
        try:
            govern_for(WATCH_SECONDS, rules=known_rules(), senses=timed.senses, pause=timed.pause)
            timed.note()
        except Over:
            pass
        except Exception as error:  # whatever it is: the run of a flow ends so, and the next one comes
            failures.append(f"{type(error).__name__}: {error}"[:300])
        for kind, spent in timed.cpu_ms.items():
            cpu_ms[kind] += spent
        over.wait(BETWEEN_SECONDS)
    print(json.dumps({"cpu_ms": {kind: _summary(spent) for kind, spent in cpu_ms.items()}, "failures": failures}))


def _until_input_ends(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def _summary(spent: list[float]) -> dict[str, Any]:
    return {
        "looks": len(spent),
        "median": rounded(statistics.median(spent), 2),
        "p95": rounded(percentile(spent, 0.95), 2),
        "max": rounded(max(spent), 2),
    }


if __name__ == "__main__":
    main()
