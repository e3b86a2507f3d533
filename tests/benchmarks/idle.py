"""What the fleet costs while nothing is due: fifty deployments with their schedules, a server, what takes the runs.

Ours beside Prefect's two process workers that poll every 3 s, each on a server of its own, in the same run, one after
the other. Memory and CPU by process, and which calls the server answers. Nothing is judged: no figure was promised.
"""

import argparse
import sys
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.burst import run_case
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, quotient, rounded


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    report = Report("idle", machine.describe())
    arguments = ["--minutes", str(options.minutes)]
    if options.only != "process":
        report.ours = run_case("idle_case", ["--way", "ours", *arguments])
    if options.only != "ours":
        report.baseline = run_case("idle_case", ["--way", "process", *arguments])
    report.ratio = {
        "process_over_ours_cpu": _ratio(report, lambda side: side["cpu_percent"]["all"]),
        "process_over_ours_pss": _ratio(report, lambda side: side["pss_mib_all_p50"]),
        "process_over_ours_calls": _ratio(report, lambda side: side["calls_a_minute"]),
    }
    report.emit()
    return 1 if "failed" in {*report.ours, *report.baseline} else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.idle", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="watched on each side")
    parser.add_argument("--only", choices=["ours", "process"])
    return parser.parse_args()


def _ratio(report: Report, of: Any) -> float | None:
    sides = (report.baseline, report.ours)
    if any("cpu_percent" not in side for side in sides):
        return None
    return rounded(quotient(of(report.baseline), of(report.ours)), 2)


if __name__ == "__main__":
    sys.exit(main())
