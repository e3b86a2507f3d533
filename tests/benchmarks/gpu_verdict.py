"""What a run of `gpu_governor` came to, phase by phase, and whether that is what was promised."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from governor.policy.ladder import LADDER
from governor.policy.rules import Rules
from tests.benchmarks import rung_steps
from tests.benchmarks.agents import SKIPPED, Agents
from tests.benchmarks.gpu_watch import CardWatch
from tests.benchmarks.report import Report, rounded

# What the driver itself keeps for its own varies by some MiB.
BACK_WITHIN_MIB = 50.0
LOOK_CPU_MS = 50.0
FREE = ("vram_free_mib", "host_available_mib")


@dataclass
class Phase:
    """One way of the neighbour, from the first agent to the memory at the end. Moments are monotonic seconds."""

    pace: str
    prepared_s: float
    watch: CardWatch
    rules: Rules
    began_s: float = 0.0
    ended_s: float = 0.0
    free_before_mib: float | None = None
    free_after_mib: float | None = None
    rung_at_end: str = ""
    neighbour: dict[str, Any] = field(default_factory=dict)
    agents: Agents | None = None
    next_agent_done: bool | None = None
    told: dict[str, Any] = field(default_factory=dict)

    def is_back(self, free_mib: float | None) -> bool:
        """Whether as much is free as was before."""
        before = self.free_before_mib
        return before is not None and free_mib is not None and abs(free_mib - before) <= BACK_WITHIN_MIB

    @property
    def high_mib(self) -> float:
        """The mark of free memory."""
        return next(mark.high for mark in self.rules.marks if mark.reading in FREE)

    def finish(self) -> dict[str, Any]:
        """All of it, for the report; read while the state folder is there."""
        until_s = self.ended_s or time.monotonic()
        steps = rung_steps.steps(self.began_s, until_s, FREE)
        marked_s = self.watch.first_at_most(self.high_mib, self.began_s)
        first = next((step["after_s"] for step in steps), None)
        marked_after_s = None if marked_s is None else marked_s - self.began_s
        self.told = {
            "neighbour": self._neighbour(),
            "steps": steps,
            "mark_mib": self.high_mib,
            "mark_passed_after_s": rounded(marked_after_s, 2),
            "first_act_after_s": first,
            "mark_to_first_act_s": rounded(
                first - marked_after_s if first is not None and marked_after_s is not None else None, 2
            ),
            "lowest_free_mib": rounded(self.watch.lowest_mib(self.began_s, until_s)),
            "free_before_mib": rounded(self.free_before_mib),
            "free_after_mib": rounded(self.free_after_mib),
            "rung_at_end": self.rung_at_end,
            "seconds": rounded(until_s - self.began_s),
            "agents": self.agents.summary() if self.agents else {},
        }
        return self.told

    def _neighbour(self) -> dict[str, Any]:
        told, moments = dict(self.neighbour), ("refused_s", "gave_back_s")
        for name in moments:
            if told.get(name) is not None:
                told[name] = rounded(told[name] - self.began_s, 2)
        told.pop("began_s", None)
        return told


def judge(report: Report, phases: Sequence[Phase]) -> None:
    """Hold what came out against what was promised."""
    for phase in phases:
        report.ours[phase.pace] = phase.told
        _judge_phase(report, phase)
    faults = report.ours.get("engine_faults")
    cut = sum("load was ended" in why for phase in phases for why in phase.told.get("agents", {}).get("reasons", []))
    report.expect(
        "engine processes: out of memory", "0", faults and {"lines": faults["oom"]}, bool(faults) and not faults["oom"]
    )
    if faults:
        # A load that its watch ends is killed by pid: the router's log only sees the exit.
        died = faults["aborts"] + (0 if cut else faults["ended_by_themselves"])
        spilled = faults["layers_on_the_cpu"]
        report.expect("engine processes: aborts", "0", {"aborts": died, "loads_ended_by_the_watch": cut}, died == 0)
        report.expect("engine processes: spills", "0", {"spills": spilled}, spilled == 0)
    looks = report.ours.get("looks") or None
    failed = looks and {"failures": len(looks["failures"])}
    report.expect("the governor's looks", "0 failures", failed, bool(looks) and not looks["failures"])
    spent = (looks or {}).get("cpu_ms") or None
    worst = max((one["p95"] for one in spent.values()), default=None) if spent else None
    report.expect(
        "CPU of one look",
        f"p95 < {LOOK_CPU_MS:.0f} ms",
        spent and {kind: {"p95_ms": one["p95"], "max_ms": one["max"]} for kind, one in spent.items()},
        worst is not None and worst < LOOK_CPU_MS,
    )


def _judge_phase(report: Report, phase: Phase) -> None:
    told, pace = phase.told, phase.pace
    ran = told.get("agents") or None
    skipped = ran and sum(ran["outcomes"].get(kind, 0) for kind in SKIPPED)
    report.expect(
        f"{pace}: agents complete or skip with a reason",
        "0 others",
        ran and {"done": ran["outcomes"].get("done", 0), "skipped": skipped, "others": len(ran["failures"])},
        bool(ran) and not ran["failures"] and ran["outcomes"].get("done", 0) > 0,
    )
    done = None if phase.next_agent_done is None else {"done": phase.next_agent_done}
    report.expect(f"{pace}: the next agent completes", "after all of it", done, phase.next_agent_done)
    climbed = rung_steps.rungs(told.get("steps", []))
    # In a hurry it may skip some, and need not come to the last.
    every = pace != "slow" or {rung.value for rung in LADDER} == set(climbed)
    report.expect(
        f"{pace}: rungs in order",
        "all of them, one at a time, up and back to normal" if pace == "slow" else "down one at a time, back to normal",
        {"rungs": climbed} if climbed else None,
        every and rung_steps.in_order(climbed, shortcuts=pace != "slow"),
    )
    back = (
        None
        if phase.free_after_mib is None
        else {"before_mib": told["free_before_mib"], "after_mib": told["free_after_mib"]}
    )
    report.expect(
        f"{pace}: memory given back", f"within {BACK_WITHIN_MIB:.0f} MiB", back, phase.is_back(phase.free_after_mib)
    )
