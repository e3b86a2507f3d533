"""Fifty runs due at the same second: how soon they begin, what they cost, and whether each completes.

Ours beside Prefect's process worker with a limit: the same flow, each case on a server of its own, in the same run.
Then runs one at a time on an idle worker. README.md says what is left out.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, quotient, rounded, say

RUN_CPU_SECONDS, SHORT_MAKESPAN_SECONDS, TIMES_FASTER, OVER_HOLDS, PEAK_MB = 0.35, 15.0, 10.0, 1.1, 1200.0
AD_HOC_SECONDS, START_SECONDS = 1.0, 0.4
SHORT, LONG = 0.2, 2.0
MANY = 4  # times as many runs in the large case
# Twelve seconds each on a process worker: enough of them for a median.
BASELINE_AD_HOC = 5
# Every wait inside a case has its own bound; this is for the sum of them.
MOST_SECONDS, STOP_SECONDS = 5400.0, 90.0


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = read_options()
    end_cleanly_on_sigterm()
    report = Report("burst", machine.describe())
    failed = 0
    for side, name, arguments in plan(options):
        say(f"{side}, {name}: {' '.join(arguments)}")
        found = run_case("burst_case", arguments)
        say(f"{side}, {name}: {found}")
        (report.ours if side == "ours" else report.baseline)[name] = found
        failed += "failed" in found
    _extrapolate(report, options)
    _compare(report)
    judge(report, options)
    report.emit()
    return 1 if failed else 0


def read_options(words: list[str] | None = None) -> argparse.Namespace:
    """Of the command line, or of `words`."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.burst", description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--hold-seconds", type=float, help="one case of ours with this hold, in place of all three")
    parser.add_argument("--only", choices=["ours", "process", "adhoc"])
    parser.add_argument("--limit", type=int, default=4, help="of the process worker")
    parser.add_argument("--ad-hoc", type=int, default=20, help="runs one at a time; 0 leaves them out")
    parser.add_argument("--skip-many", action="store_true", help=f"without the case of {MANY} times as many runs")
    parser.add_argument("--ours-type", default="hotdesk", help="pool type of our side; `process`: to try this out")
    parser.add_argument("--by-hand", action="store_true", help="ours started as `prefect worker start --type hotdesk`")
    return parser.parse_args(words)


Planned = tuple[str, str, list[str]]


def plan(options: argparse.Namespace) -> list[Planned]:
    """Side, name and arguments of every case."""
    ours, process = ["--way", "ours", "--pool-type", options.ours_type], ["--way", "process"]
    ours += ["--by-hand"] if options.by_hand else []
    limit = ["--limit", str(options.limit)]
    planned: list[Planned] = []
    if options.only in (None, "ours"):
        planned += [("ours", name, [*ours, *limit, *_burst(runs, hold)]) for name, runs, hold in _sizes(options)]
    if options.only in (None, "process"):
        hold = SHORT if options.hold_seconds is None else options.hold_seconds
        planned += [("baseline", "short", [*process, *limit, *_burst(options.runs, hold)])]
    if options.only in (None, "adhoc") and options.ad_hoc:
        baseline = min(options.ad_hoc, BASELINE_AD_HOC)
        planned += [
            ("ours", "ad_hoc", [*ours, *limit, "--ad-hoc", str(options.ad_hoc)]),
            ("baseline", "ad_hoc", [*process, *limit, "--ad-hoc", str(baseline)]),
        ]
    return planned


def _sizes(options: argparse.Namespace) -> list[tuple[str, int, float]]:
    if options.hold_seconds is not None:
        return [("short", options.runs, options.hold_seconds)]
    many = [] if options.skip_many else [("many", MANY * options.runs, SHORT)]
    return [("short", options.runs, SHORT), *many, ("long", options.runs, LONG)]


def _burst(runs: int, hold_seconds: float) -> list[str]:
    return ["--runs", str(runs), "--hold-seconds", str(hold_seconds)]


def run_case(module: str, arguments: list[str]) -> dict[str, Any]:
    """Its figures; `failed` where it did not come to its end, so that the others are measured all the same."""
    child = subprocess.Popen(
        [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is this process's, which ends it once
    )
    try:
        output, _ = child.communicate(timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return {"failed": f"no end after {MOST_SECONDS:.0f} s"}
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait(STOP_SECONDS)
    if child.returncode:
        return {"failed": f"exit status {child.returncode}"}
    return json.loads(output.splitlines()[-1])


def _extrapolate(report: Report, options: argparse.Namespace) -> None:
    """Many runs on the process worker would take as long a run as few: a quarter of an hour, so it is reckoned."""
    short = report.baseline.get("short", {}).get("makespan_seconds")
    if short is not None:
        report.baseline["many_extrapolated"] = {"runs": MANY * options.runs, "makespan_seconds": MANY * short}


def _compare(report: Report) -> None:
    for name in ("makespan_seconds", "first_line_p50_seconds", "peak_pss_mb"):
        ours, theirs = (side.get("short", {}).get(name) for side in (report.ours, report.baseline))
        report.ratio[f"process_over_ours_{name}"] = rounded(quotient(theirs, ours), 2)
    name = "submit_to_first_line_p50_seconds"
    ours, theirs = (side.get("ad_hoc", {}).get(name) for side in (report.ours, report.baseline))
    report.ratio[f"process_over_ours_{name}"] = rounded(quotient(theirs, ours), 2)


def judge(report: Report, options: argparse.Namespace) -> None:
    """Hold it against what was asked for. Of other sizes only what does not depend on them."""
    whole = options.runs == 50 and options.hold_seconds is None
    _completed(report, "short", options.runs)
    _completed(report, "many", MANY * options.runs)
    _completed(report, "long", options.runs)
    short, long = report.ours.get("short"), report.ours.get("long") if whole else None
    own = {"run": short["cpu_seconds_a_run"]["run"]} if short and "cpu_seconds_a_run" in short else None
    _at_most(report, "CPU", f"<= {RUN_CPU_SECONDS} CPU-s a run", own, "run", RUN_CPU_SECONDS)
    reach = "50 with a 0.2 s hold in <= 15 s (10 s are the holds)"
    _at_most(report, "makespan", reach, short if whole else None, "makespan_seconds", SHORT_MAKESPAN_SECONDS)
    faster = report.ratio["process_over_ours_makespan_seconds"]
    reach = f"at least {TIMES_FASTER:.0f} x faster than the process worker with --limit 4"
    got = None if faster is None or options.limit != 4 else {"times": faster}
    report.expect("against the process worker", reach, got, faster is not None and faster >= TIMES_FASTER)
    most = OVER_HOLDS * LONG * options.runs
    _at_most(report, "long holds", "with a 2 s hold <= 1.1 x the holds", long, "makespan_seconds", most)
    peaks = [case["peak_pss_mb"] for case in report.ours.values() if "peak_pss_mb" in case]
    peak = {"peak_pss_mb": max(peaks)} if peaks and whole else None
    _at_most(report, "memory", "peak <= 1.2 GB in all", peak, "peak_pss_mb", PEAK_MB)
    one = report.ours.get("ad_hoc")
    _at_most(
        report, "ad hoc", "submit to first line p50 <= 1 s", one, "submit_to_first_line_p50_seconds", AD_HOC_SECONDS
    )
    _at_most(report, "start", "fork to first line p50 <= 0.4 s", one, "start_to_first_line_p50_seconds", START_SECONDS)


def _completed(report: Report, name: str, runs: int) -> None:
    case = report.ours.get(name)
    got = {"completed": case.get("completed"), "runs": runs} if case else None
    report.expect(f"completed, {name}", f"{runs} of {runs} completed", got, bool(got) and got["completed"] == runs)


def _at_most(report: Report, name: str, reach: str, found: dict[str, Any] | None, key: str, most: float) -> None:
    value = found.get(key) if found else None
    report.expect(name, reach, None if value is None else {key: value}, value is not None and value <= most)


if __name__ == "__main__":
    sys.exit(main())
