"""How long the desk stays empty after kill -9 of its holder: ours twenty times, native `concurrency()` once.

Real processes on one real server; at least two others wait in line at every kill.
"""

import argparse
import random
import statistics
import sys
import time
from collections import deque
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.children import Child, Crew, first_to_speak
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, quotient, rounded, say
from tests.benchmarks.server import real_server

WORST_MS = 1000.0
MEDIAN_MS = 200.0
# A waiter opens the database and takes its ticket in some tenths of a second.
JOIN_SECONDS = 60.0
# Ours: proven dead at once; the lease's own end (75 s) would be the last resort.
SEATED_SECONDS = 120.0
NATIVE_SECONDS = 150.0
# A holder works for a while before it is killed, so that kills fall anywhere between two looks of the next one.
WORK_SECONDS = (0.3, 0.8)
# Nobody sits longer than this, even if the benchmark itself is killed.
ORPHAN_SECONDS = 900.0


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    report = Report("recovery", machine.describe())
    with real_server() as server:
        from tests.benchmarks import native, ours  # they import Prefect, which reads the server's address

        server.make_limit(ours.LINE, ours.SLOTS)
        report.ours = _ours(ours, options)
        if not options.skip_native:
            server.make_limit(native.LIMIT, ours.SLOTS)
            report.baseline = _native(native)
    _judge(report)
    report.emit()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recovery", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="kills of our holder")
    parser.add_argument("--waiting", type=int, default=2, help="others in line at every kill")
    parser.add_argument("--seed", type=int, default=1, help="of how long each holder works before its kill")
    parser.add_argument("--skip-native", action="store_true", help="leave the baseline out: it takes 1 to 2 minutes")
    return parser.parse_args()


def _ours(ours: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Kill the holder again and again; a fresh waiter joins each time."""
    work, took_ms, out_of_order = random.Random(options.seed), [], 0
    with Crew() as crew:
        line = deque(_joined(crew, ours.sit_until_told, number) for number in range(1 + options.waiting))
        holder = line.popleft()
        _seated_s(holder, SEATED_SECONDS)
        for kill in range(1, options.times + 1):
            time.sleep(work.uniform(*WORK_SECONDS))
            killed_s = time.monotonic()
            holder.kill()
            heir = first_to_speak(list(line), SEATED_SECONDS)
            took_ms.append(1000 * (_seated_s(heir, SEATED_SECONDS) - killed_s))
            say(f"ours: kill {kill} of {options.times}: the next one sat after {took_ms[-1]:.1f} ms")
            holder.process.join(JOIN_SECONDS)
            out_of_order += heir is not line[0]
            line.remove(heir)
            holder = heir
            line.append(_joined(crew, ours.sit_until_told, options.waiting + kill))
    return {
        "kills": options.times,
        "waiting_at_each_kill": options.waiting,
        "worst_ms": rounded(max(took_ms)),
        "median_ms": rounded(statistics.median(took_ms)),
        "all_ms": [rounded(took) for took in took_ms],
        "out_of_order": out_of_order,
    }


def _native(native: Any) -> dict[str, Any]:
    """The same once, with the shortest lease that the server allows."""
    with Crew() as crew:
        holder = _joined(crew, native.sit_until_told, 0)
        _seated_s(holder, SEATED_SECONDS)
        waiter = _joined(crew, native.sit_until_told, 1)
        killed_s = time.monotonic()
        holder.kill()
        say(f"native: the holder was killed; its lease lasts {native.SHORTEST_LEASE_SECONDS:.0f} s")
        found: dict[str, Any] = {"kills": 1, "lease_seconds": native.SHORTEST_LEASE_SECONDS}
        if not waiter.pipe.poll(NATIVE_SECONDS):
            say(f"native: nobody sat within {NATIVE_SECONDS:.0f} s")
            return {**found, "seated_ms": None, "not_within_ms": 1000 * NATIVE_SECONDS}
        took_ms = 1000 * (_seated_s(waiter, NATIVE_SECONDS) - killed_s)
    say(f"native: the next one sat after {took_ms / 1000:.1f} s")
    return {**found, "seated_ms": rounded(took_ms)}


def _joined(crew: Crew, work: Any, number: int) -> Child:
    """A new waiter that has its ticket."""
    child = crew.start(work, number, ORPHAN_SECONDS)
    word, _ = child.hear(JOIN_SECONDS)
    assert word == "joined", word
    return child


def _seated_s(child: Child, seconds: float) -> float:
    word, moment_s = child.hear(seconds)
    assert word == "seated", word
    return moment_s


def _judge(report: Report) -> None:
    worst, median = report.ours["worst_ms"], report.ours["median_ms"]
    native = report.baseline.get("seated_ms") or report.baseline.get("not_within_ms")
    report.ratio = {
        "worst_ms": rounded(quotient(worst, native), 6),
        "median_ms": rounded(quotient(median, native), 6),
    }
    kills = report.ours["kills"]
    report.expect("kill -9 of the holder", f"worst of {kills} <= 1 s", {"worst_ms": worst}, worst <= WORST_MS)
    report.expect("kill -9 of the holder", "median <= 0.2 s", {"median_ms": median}, median <= MEDIAN_MS)


if __name__ == "__main__":
    sys.exit(main())
