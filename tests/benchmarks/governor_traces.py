"""Who sees trouble coming: our governor and the rules of earlyoom, systemd-oomd and LocalAI on the same traces.

Nothing is loaded and nothing is measured: the machine is simulated (`simulated`), the traces are constructed
(`traces`), the policy is the one in production. Every trace is played several times; each time the looks of all guards
fall elsewhere.

Two of the rivals, earlyoom and systemd-oomd, cannot see a card at all: traces whose trouble is there are blind spots of
theirs by nature, not by a rule that could be better. LocalAI's reclaimer looks at the host only where no card answers,
so with a card the traces of hosts are its blind spots. Hence there are totals of both kinds apart.
"""

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.benchmarks import machine
from tests.benchmarks.guards import Guard
from tests.benchmarks.our_guard import OurGovernor
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, quotient, rounded, say
from tests.benchmarks.rivals import EarlyOom, LocalAi, SystemdOomd
from tests.benchmarks.trace_scores import Nobody, Outcome, play
from tests.benchmarks.traces import CARD_TRACES, HOST_TRACES, TRACES

OURS, NOBODY = "ours", "nobody"
# A guard for a phase: the share of its interval by which its looks fall later.
Make = Callable[[float], Guard]
GUARDS: Mapping[str, Make] = {
    OURS: lambda phase: OurGovernor(phase=phase),
    "ours, without hotdesk up": lambda phase: OurGovernor(phase=phase, up=False),
    "earlyoom": lambda phase: EarlyOom(next_s=phase),
    "systemd-oomd": lambda phase: SystemdOomd(pressure_s=phase, used_s=phase),
    "LocalAI": lambda phase: LocalAi(next_s=0.5 + phase / 2),
    NOBODY: lambda phase: Nobody(),
}
Plays = Mapping[str, Sequence[Outcome]]
KINDS = {
    "traces_of_cards": {trace.name for trace in CARD_TRACES},
    "traces_of_hosts": {trace.name for trace in HOST_TRACES},
}
# What a line of the table says of a guard.
COUNTS = (
    "in_time",
    "in_danger",
    "false_acts_in_calm_traces",
    "false_acts_elsewhere",
    "over_evictions",
    "gentle_acts_on_still_traces",
)


def main() -> int:
    """Exit status 0 when everything was played, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    report = Report("governor_traces", machine.describe())
    judge(report, play_all([(0.3 + turn / options.phases) % 1 for turn in range(options.phases)]))
    report.emit()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.governor_traces", description=__doc__)
    parser.add_argument("--phases", type=int, default=5, help="times that each trace is played")
    return parser.parse_args()


def play_all(phases: Sequence[float]) -> dict[str, list[Outcome]]:
    """Every guard on every trace in every phase, by guard."""
    found: dict[str, list[Outcome]] = {name: [] for name in GUARDS}
    for trace in TRACES:
        for name, make in GUARDS.items():
            done = [play(trace, make(phase), seed) for seed, phase in enumerate(phases)]
            found[name] += done
            if name != NOBODY:
                say(f"{trace.name} · {name}: {_words(done)}")
    return found


def judge(report: Report, plays: Plays) -> None:
    """Scores and targets."""
    rivals = [name for name in GUARDS if name != OURS]
    report.ours = ours = scores(plays[OURS])
    report.baseline = {name: scores(plays[name]) for name in rivals}
    for kind in KINDS:
        say(f"{kind}: {', '.join(COUNTS)}")
        for name in GUARDS:
            row = (ours if name == OURS else report.baseline[name])[kind]
            say(f"  {name}: {', '.join(str(row[count]) for count in COUNTS)}")
    report.ratio = {
        f"ours_over_{name}": {
            key: rounded(quotient(ours[key], report.baseline[name][key]), 3)
            for key in ("in_time", "false_acts_in_calm_traces", "false_acts_elsewhere", "over_evictions")
        }
        for name in rivals
    }
    outcomes = plays[OURS]
    late = Counter(o.trace.name for o in outcomes if not o.in_time)
    report.expect(
        "in time",
        "earlier than the driver's OOM, or the freeze, in all traces",
        {"in_time": ours["in_time"], "of": ours["in_danger"], "too_late": dict(late)},
        not late,
    )
    false = _sums(outcomes, lambda o: len(o.false_acts) if o.trace.calm else 0)
    report.expect(
        "calm",
        "0 false actions on the calm traces",
        {"false_acts": false, "gentle_acts_on_still_traces": ours["gentle_acts_on_still_traces"]},
        not false,
    )
    over = _sums(outcomes, lambda o: o.over_evictions)
    report.expect("over-evictions", "no over-eviction", {"over_evictions": over}, not over)


def scores(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All of one guard: over all traces, over those of cards and of hosts apart, and each."""
    apart = {kind: totals([o for o in outcomes if o.trace.name in names]) for kind, names in KINDS.items()}
    return {**totals(outcomes), **apart, "by_trace": by_trace(outcomes)}


def totals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Over all plays of one guard. `in_danger`: plays that end badly when nobody acts."""
    danger = [o for o in outcomes if o.trace.end is not None]
    hits: Counter[str] = Counter()
    for outcome in outcomes:
        hits.update(outcome.hits)
    return {
        "in_time": sum(o.in_time for o in danger),
        "in_danger": len(danger),
        "false_acts_in_calm_traces": sum(len(o.false_acts) for o in outcomes if o.trace.calm),
        "false_acts_elsewhere": sum(len(o.false_acts) for o in outcomes if not o.trace.calm),
        "gentle_acts_on_still_traces": sum(len(o.gentle_acts) for o in outcomes),
        "over_evictions": sum(o.over_evictions for o in outcomes),
        "reloads": sum(o.reloads for o in outcomes),
        "hits": dict(hits),
    }


def by_trace(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """The same for each trace, with the median seconds from the beginning of the pressure."""
    names = dict.fromkeys(o.trace.name for o in outcomes)
    return {name: _row([o for o in outcomes if o.trace.name == name]) for name in names}


def _row(done: Sequence[Outcome]) -> dict[str, Any]:
    ends = Counter(o.ended.value for o in done if o.ended is not None)
    return {
        "plays": len(done),
        "ended": dict(ends),
        "ended_s": _median([o.ended_s for o in done]),
        "first_act_seconds": _median([o.first_act_seconds for o in done]),
        "first_freeing_seconds": _median([o.first_freeing_seconds for o in done]),
        "false_acts": sum(len(o.false_acts) for o in done),
        "gentle_acts": sum(len(o.gentle_acts) for o in done),
        "over_evictions": sum(o.over_evictions for o in done),
        "reloads": sum(o.reloads for o in done),
    }


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return rounded(statistics.median(known)) if known else None


def _sums(outcomes: Sequence[Outcome], count: Callable[[Outcome], int]) -> dict[str, int]:
    """By trace, those with none left out."""
    found: Counter[str] = Counter()
    for outcome in outcomes:
        found[outcome.trace.name] += count(outcome)
    return {name: number for name, number in found.items() if number}


def _words(done: Sequence[Outcome]) -> str:
    row = _row(done)
    ended = f"too late in {sum(row['ended'].values())} of {row['plays']}" if row["ended"] else "in time"
    acted, freed = row["first_act_seconds"], row["first_freeing_seconds"]
    first = "no act" if acted is None else f"first act after {acted} s, memory after {freed} s"
    gentle = f", gentle {row['gentle_acts']}" if any(o.trace.gentle_only for o in done) else ""
    return f"{ended}, {first}, false {row['false_acts']}, over-evictions {row['over_evictions']}{gentle}"


if __name__ == "__main__":
    sys.exit(main())
