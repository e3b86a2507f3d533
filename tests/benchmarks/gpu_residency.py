"""A thousand random loads, uses and evictions on a real card made small, beside a neighbour that takes memory.

    python -m tests.benchmarks.gpu_residency --budget-gib 6

Needs an NVIDIA card with that much memory to spare and a `llama-server` on the PATH (`tests/build_llama_server.sh`).
The models are of random weights (`tests.random_gguf`), the small card is a large one less a ballast
(`tests.benchmarks.ballast`), and the neighbour is `tests.benchmarks.neighbour`. Without a card,
`--pretend` runs the same steps with small models in the host's memory: for finding mistakes, not for figures.
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.benchmarks import gpu_ground, gpu_steps, gpu_swap
from tests.benchmarks.gpu_steps import Seen
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, percentile, quotient, rounded

FIRST_WITHIN_MIB, LEARNED_WITHIN_MIB = 150.0, 50.0
SWAP_RATIO = 1.15
NOTICED_WITHIN_MS = 100.0
BEGUN_S = time.monotonic()


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    report = Report("gpu_residency", gpu_ground.describe() | {"pretended": options.pretend})
    budget_mib = gpu_ground.PRETEND_BUDGET_MIB if options.pretend else options.budget_gib * 1024
    places = {"pretend": options.pretend, "budget_mib": budget_mib, "models": options.models, "seed": options.seed}
    try:
        with gpu_ground.ground(**places) as ground:
            report.machine["ballast"] = ground.ballast
            _measure(ground, options, report)
            gpu_ground.keep_logs(options.keep_logs)
        return 0
    except BaseException as error:
        report.ours["ended_by"] = f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        report.emit()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_residency", description=__doc__)
    parser.add_argument("--budget-gib", type=float, default=6.0, help="how large the card is made")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--seconds", type=float, default=540.0, help="of the whole run: the steps end then, however many"
    )
    parser.add_argument("--swaps", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", type=Path, help="where the models are or shall be; a temporary folder otherwise")
    parser.add_argument("--keep-logs", type=Path, help="copy the engine's log and the governor's events there")
    parser.add_argument("--pretend", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(ground: gpu_ground.Ground, options: argparse.Namespace, report: Report) -> None:
    """Swaps on a quiet card first, then the steps beside the neighbour; judged whatever happens in between."""
    swaps = gpu_swap.swaps(ground, options.swaps)
    ours, raw = swaps["ours"]["median_s"], swaps["raw"]["median_s"]
    report.ours["swap"], report.baseline["swap"] = swaps["ours"], swaps["raw"]
    report.ours["swap_failed"] = swaps["failed"]
    report.ratio["swap"] = rounded(quotient(ours, raw), 3)
    seen = Seen()
    assert ground.neighbour is not None and ground.neighbour.stdin is not None
    try:
        ground.neighbour.stdin.write("go\n")
        ground.neighbour.stdin.flush()
        gpu_steps.walk(ground, seen, steps=options.steps, until_s=BEGUN_S + options.seconds, seed=options.seed)
    finally:
        said, _ = ground.neighbour.communicate(timeout=gpu_ground.END_SECONDS)
        report.ours["neighbour"] = json.loads(said or "{}")
        report.ours["steps"] = _told(seen)
        report.ours["estimates"] = _errors(seen)
        report.ours["engine_faults"] = seen.log.summary()
        # On a busy CPU a slow answer says nothing of layers.
        report.ours["engine_faults"]["slow_answers"] = 0 if ground.pretend else gpu_steps.slow_answers(seen)
        _judge(report, seen, options.steps)


def _told(seen: Seen) -> dict[str, Any]:
    return {
        "steps": seen.steps,
        "seconds": rounded(seen.seconds),
        "outcomes": dict(seen.outcomes),
        "refusals": dict(seen.refusals),
        "failures": seen.failures[:20],
        "reasons": seen.reasons[:5],
        "load_median_s": {model: rounded(statistics.median(took), 3) for model, took in seen.load_seconds.items()},
        "tokens_per_second": {model: rounded(statistics.median(rates)) for model, rates in seen.rates.items()},
        "memory_back_noticed_ms": {
            "evictions": len(seen.noticed_ms),
            "median": rounded(percentile(seen.noticed_ms, 0.5)),
            "p95": rounded(percentile(seen.noticed_ms, 0.95)),
            "max": rounded(max(seen.noticed_ms, default=None)),
        },
    }


def _errors(seen: Seen) -> dict[str, Any]:
    """How far off the figures were that admission decided by, and the header alone; signed, measured less said."""
    by_source: dict[str, list[float]] = defaultdict(list)
    header: dict[str, float] = {}
    for one in seen.estimates:
        by_source[one["source"]].append(one["measured_mib"] - one["expected_mib"])
        way = f"{one['model']} {one['context_tokens']} {one['cache_type']}"
        header.setdefault(way, round(one["measured_mib"] - one["header_mib"], 1))
    return {
        "header_alone_off_mib": header,
        "grown_after_first_use_mib": {way: round(mib, 1) for way, mib in seen.grown_mib.items()},
        **{f"{source}_off_mib": _off(off) for source, off in by_source.items()},
    }


def _off(off: list[float]) -> dict[str, Any]:
    largest = max(off, key=abs)
    return {"loads": len(off), "median": rounded(statistics.median(off)), "largest": rounded(largest)}


def _judge(report: Report, seen: Seen, steps: int) -> None:
    """Hold what came out against what was promised."""
    faults, estimates = report.ours["engine_faults"], report.ours["estimates"]
    # A load that the watch ends is killed by its pid, of which the router's log only sees the exit; a process that
    # died by itself would have failed a load or a use as well.
    unasked = max(0, faults["ended_by_themselves"] - seen.refusals["ended while it loaded"])
    died = faults["aborts"] + unasked + len(seen.failures)
    spilled = faults["layers_on_the_cpu"] + seen.refusals["spilled"] + faults["slow_answers"]
    report.expect("steps", f"{steps}", {"steps": seen.steps}, seen.steps >= steps)
    report.expect("out of memory in engines", "0", {"lines": faults["oom"]}, faults["oom"] == 0)
    report.expect("aborts of engines", "0", {"aborts": died}, died == 0)
    report.expect("spills of engines", "0", {"spills": spilled}, spilled == 0)
    header = [abs(off) for off in estimates["header_alone_off_mib"].values()]
    _within(report, "first estimate", header, FIRST_WITHIN_MIB)
    learned = estimates.get("learned_off_mib")
    off = [abs(learned["largest"]), *seen.grown_mib.values()] if learned else []
    _within(report, "learned footprint", off, LEARNED_WITHIN_MIB)
    ratio = report.ratio["swap"]
    report.expect("swap to first token", f"<= {SWAP_RATIO} x raw", {"ratio": ratio}, (ratio or 9.0) <= SWAP_RATIO)
    slowest = max(seen.noticed_ms, default=None)
    got = None if slowest is None else {"max_ms": rounded(slowest)}
    report.expect(
        "memory back is noticed", f"<= {NOTICED_WITHIN_MS:.0f} ms", got, (slowest or 0.0) <= NOTICED_WITHIN_MS
    )


def _within(report: Report, name: str, off_mib: list[float], bound_mib: float) -> None:
    got = {"largest_off_mib": max(off_mib)} if off_mib else None
    report.expect(name, f"<= {bound_mib:.0f} MiB off", got, max(off_mib, default=0.0) <= bound_mib)


if __name__ == "__main__":
    sys.exit(main())
