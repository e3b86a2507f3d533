"""The governor on a real card made small: a neighbour fills it to the brim while agents work, and gives it back.

    python -m tests.benchmarks.gpu_governor --budget-gib 6

Needs an NVIDIA card with that much memory to spare and a `llama-server` on the PATH (`tests/build_llama_server.sh`).
Real: the card and its driver, llama-server, a Prefect server, the agents and their sentinels, each in its process, and
the governor's looks in one of their own (`governor_looks`). Models have random weights (`tests.random_gguf`). First the
neighbour (`brim`) goes slowly, so that every rung shows; then as fast as a program that starts. Without a card,
`--pretend` runs the same with small models in the host's memory: for finding mistakes, not for figures.
"""

import argparse
import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import time as wall_time
from pathlib import Path
from typing import Any

from governor.errors import NotReady
from governor.policy.facts import Rung
from governor.policy.pressure import Mark
from governor.policy.rules import Rules
from governor.policy.watermarks import Hours
from governor.settings import home
from governor.standing import keep_rules, standing
from tests.benchmarks import gpu_ground, gpu_verdict
from tests.benchmarks.agents import ONCE, Agents, agents
from tests.benchmarks.gpu_ground import Ground
from tests.benchmarks.gpu_use import ask
from tests.benchmarks.gpu_verdict import Phase
from tests.benchmarks.gpu_watch import CardWatch, watching
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, say
from tests.benchmarks.seats import evict_all, residents, seat
from tests.benchmarks.server import real_server
from tests.random_gguf import Shape

BEGUN_S = time.monotonic()
# A 7B's shape, a 1B's, a small one with a large vocabulary, and one that is little more than its driver context: the
# only one that fits beside the 7B on 6 GiB.
SHAPES = {
    "seven": Shape(32, 4096, 14_336, 32, 8, 32_000, 32_768),
    "one": Shape(22, 2048, 5632, 32, 4, 32_000, 32_768),
    "half": Shape(24, 1024, 2816, 16, 4, 128_000, 32_768, tied=True),
    "small": Shape(12, 512, 1536, 8, 2, 8000, 32_768),
}
PRETEND_SHAPES = {
    "seven": Shape(12, 1024, 2816, 16, 4, 2000, 32_768),
    "one": Shape(6, 1024, 2816, 16, 4, 2000, 32_768),
    "half": Shape(4, 768, 2048, 12, 4, 16_000, 32_768, tied=True),
    "small": Shape(8, 1024, 2816, 16, 4, 2000, 32_768),
}
PRETEND_BUDGET_MIB = 1500.0
# What works and what idles beside it, by how the neighbour goes.
CASTS = {"slow": ("seven", ("small",)), "fast": ("one", ("half", "small"))}
AGENTS = 3
CONTEXT_TOKENS = 2048
# Beside a slow neighbour so long that the last rung still finds somebody at the desk.
SEATS = {"slow": ("--seat-seconds", "120", "--patience-seconds", "75"), "fast": ("--seat-seconds", "12")}
SETTLED_SECONDS = 90.0
# Never night: which marks count is not to depend on when the run is made.
DAY = Hours(night_from=wall_time(0), night_until=wall_time(0))
PRETEND_MARKS = (
    Mark(reading="host_available_mib", high=200.0, low=400.0, rising_is_bad=False, memory="ram", brim=0.0),
)
CALM_SECONDS = 5.0
# The brim is reached within this, or the run says that it was not; then four steps down, 30 s each.
FILL_SECONDS, DOWN_SECONDS = 180.0, 160.0
POLL_SECONDS = 0.25
BACK_SECONDS = 5.0
# For the last answers, one more agent, and taking everything down.
STOP_SECONDS, NEXT_SECONDS = 50.0, 40.0
TOLD_EVERY_SECONDS = 15.0


@dataclass(frozen=True)
class Run:
    """What every phase stands on."""

    ground: Ground
    watch: CardWatch
    rules: Rules
    told: tuple[str, ...]
    ends_s: float


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    report = Report("gpu_governor", gpu_ground.describe() | {"pretended": options.pretend})
    budget_mib = PRETEND_BUDGET_MIB if options.pretend else options.budget_gib * 1024
    os.environ["HOTDESK_PROFILE"] = "cpu-only" if options.pretend else "gpu-6gb"
    os.environ["HOTDESK_HEAVY"] = f"{gpu_ground.ENGINE}:seven.gguf"
    phases: list[Phase] = []
    try:
        with _stage(options, budget_mib, report) as (ground, told):
            _measure(ground, told, options, report, phases)
            gpu_ground.keep_logs(options.keep_logs)
        return 0
    except BaseException as error:
        report.ours["ended_by"] = f"{type(error).__name__}: {error}"[:2000]
        raise
    finally:
        gpu_verdict.judge(report, phases)
        report.emit()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu_governor", description=__doc__)
    parser.add_argument("--budget-gib", type=float, default=6.0, help="how large the card is made")
    parser.add_argument("--seconds", type=float, default=530.0, help="of the whole run, the loading of it included")
    parser.add_argument("--only", choices=list(CASTS), help="one phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", type=Path, help="where the models are or shall be; a temporary folder otherwise")
    parser.add_argument("--keep-logs", type=Path, help="copy the engine's log and the governor's events there")
    parser.add_argument("--instant-limit", action="store_true", help="no Prefect server: a fake of its limit")
    parser.add_argument("--pretend", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextlib.contextmanager
def _stage(options: argparse.Namespace, budget_mib: float, report: Report) -> Iterator[tuple[Ground, tuple[str, ...]]]:
    """Ground and server; with them what every helper process is told."""
    pretended = ("--pretend-mib", str(budget_mib)) if options.pretend else ()
    with contextlib.ExitStack() as stack:
        ground = stack.enter_context(
            gpu_ground.ground(
                pretend=options.pretend,
                budget_mib=budget_mib,
                models=options.models,
                seed=options.seed,
                shapes=PRETEND_SHAPES if options.pretend else SHAPES,
                neighbour=("brim", *pretended),
            )
        )
        assert ground.neighbour is not None
        report.machine["ballast"] = ground.ballast
        report.machine["prefect"] = "a fake of its limit that grants everything"
        told = (*pretended, "--pretend-neighbour", str(ground.neighbour.pid)) if pretended else ()
        if not options.instant_limit:
            try:
                server = stack.enter_context(real_server(home()))
                server.make_limit(gpu_ground.LINE, 1)
                report.machine["prefect"] = "a real server"
            except NotReady as error:
                say(f"no Prefect server: {error}")
        if report.machine["prefect"] != "a real server":
            told = (*told, "--instant-limit")
        yield ground, told


def _measure(
    ground: Ground, told: tuple[str, ...], options: argparse.Namespace, report: Report, phases: list[Phase]
) -> None:
    """Every model once by itself; then the phases, beside the governor's looks."""
    rules = Rules(hours=DAY, marks=PRETEND_MARKS) if ground.pretend else Rules(hours=DAY)
    keep_rules(rules)
    report.ours["rules"] = {"marks": "pretended" if ground.pretend else "the defaults of the day"}
    for model in PRETEND_SHAPES if ground.pretend else SHAPES:
        _try(ground, model)
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: report.ours.update(engine_faults=watch.log.summary()))  # once the watch is over
        watch = stack.enter_context(watching(ground.memory, pretend=ground.pretend))
        run = Run(ground, watch, rules, told, BEGUN_S + options.seconds)
        looks = stack.enter_context(gpu_ground.process("governor_looks", [t for t in told if t != "--instant-limit"]))
        try:
            for pace in [options.only] if options.only else CASTS:
                phases.append(Phase(pace, time.monotonic(), watch, rules))
                _phase(run, phases[-1])
        finally:
            for phase in phases:
                phase.finish()
            said, _ = looks.communicate(timeout=gpu_ground.END_SECONDS)
            report.ours["looks"] = json.loads(said or "{}")


def _try(ground: Ground, model: str) -> None:
    """Loaded, used and let go: from now on it is known what it takes."""
    with seat(ground.spec(model, CONTEXT_TOKENS)) as held:
        ask(held.loaded.address, held.loaded.api_key, model, tokens=4, prompt="desk " * 300)
    evict_all()
    say(f"tried {model}; {ground.memory.free_mib():.0f} MiB free after it left")


def _phase(run: Run, phase: Phase) -> None:
    """Agents at work, the neighbour to the brim and back, the ladder back down, and what is free at the end."""
    using, _ = CASTS[phase.pace]
    phase.free_before_mib = run.ground.memory.free_mib()
    with agents(run.told) as cast:
        phase.agents = cast
        _settle(run.ground, cast, phase.pace)
        time.sleep(CALM_SECONDS)
        phase.began_s = time.monotonic()
        say(f"{phase.pace}: the neighbour goes")
        phase.neighbour = _fill(run.ground, phase.pace)
        say(f"{phase.pace}: {phase.neighbour}, rung {standing().rung}")
        _until_calm(run, phase, cast)
        phase.ended_s = time.monotonic()
        phase.rung_at_end = standing().rung.value
        cast.stop()
        phase.next_agent_done = _next_agent(run.ground, cast, using)
    evict_all()
    ends_s = time.monotonic() + BACK_SECONDS
    while time.monotonic() < ends_s and not phase.is_back(run.ground.memory.free_mib()):
        time.sleep(POLL_SECONDS)
    phase.free_after_mib = run.ground.memory.free_mib()
    say(f"{phase.pace}: rung {phase.rung_at_end}, free {phase.free_before_mib} -> {phase.free_after_mib} MiB")


def _settle(ground: Ground, cast: Agents, pace: str) -> None:
    """The idle models are brought in, then the agents work with the other one. Raises TimeoutError."""
    using, idle = CASTS[pace]
    for model in idle:
        cast.start(f"once-{model}", ground.spec(model, CONTEXT_TOKENS), *ONCE)
    for model in idle:
        cast.wait_for(lambda m=model: cast.done(f"once-{m}"), f"{model} is not in memory", seconds=SETTLED_SECONDS)
    for number in range(AGENTS):
        cast.start(f"agent-{number}", ground.spec(using, CONTEXT_TOKENS), *SEATS[pace])
    cast.wait_for(lambda: _at_work(using), f"nobody works with {using}", seconds=SETTLED_SECONDS)
    say(f"in memory: {sorted(row.model for row in residents())}, {ground.memory.free_mib():.0f} MiB free")


def _at_work(model: str) -> bool:
    return any(row.model == model and row.claimed_by is not None for row in residents())


def _next_agent(ground: Ground, cast: Agents, model: str) -> bool:
    """One that comes when all is over."""
    cast.start("next", ground.spec(model, CONTEXT_TOKENS), *ONCE)
    try:
        cast.wait_for(lambda: cast.done("next"), "the next agent is not through", seconds=NEXT_SECONDS)
    except TimeoutError as error:
        say(str(error))
    cast.stop()
    return cast.done("next")


def _fill(ground: Ground, pace: str) -> dict[str, Any]:
    """Raises TimeoutError: the brim was not reached."""
    assert ground.neighbour is not None and ground.neighbour.stdin is not None and ground.neighbour.stdout is not None
    ground.neighbour.stdin.write(f"{pace}\n")
    ground.neighbour.stdin.flush()
    if not select.select([ground.neighbour.stdout], [], [], FILL_SECONDS)[0]:
        raise TimeoutError(f"the neighbour did not come to the brim within {FILL_SECONDS:.0f} s")
    return json.loads(ground.neighbour.stdout.readline())


def _until_calm(run: Run, phase: Phase, cast: Agents) -> None:
    """Until the ladder is down, or there is no more time."""
    ends_s, told_s = min(run.ends_s - STOP_SECONDS, time.monotonic() + DOWN_SECONDS), 0.0
    while (rung := standing().rung) is not Rung.NORMAL and time.monotonic() < ends_s:
        if time.monotonic() - told_s > TOLD_EVERY_SECONDS:
            told_s, free_mib = time.monotonic(), run.ground.memory.free_mib()
            say(f"{phase.pace}: rung {rung}, {cast.summary()['outcomes']}, {free_mib:.0f} MiB free")
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
