"""The governor on this very host under real pressure: rung by rung, with the readings, and the next agent completes.

    python -m tests.benchmarks.host_pressure

Real: the host and its kernel's figures, the embedded engine with the shipped weights, a Prefect server, an agent that
sits for long in a process of its own, the governor's looks in another (`governor_looks`). How the host is put under
pressure is `host_ways`; a way that is not possible here is said so, with the reason.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import time as wall_time
from pathlib import Path
from typing import Any

import platformdirs

from deployments.weights import fetch_weights
from governor import memory
from governor.policy.facts import ModelSpec, Rung
from governor.policy.ladder import Cooldown
from governor.policy.rules import Rules
from governor.policy.watermarks import Hours
from governor.settings import Home
from governor.standing import keep_rules, standing
from tests.benchmarks import machine, rung_steps
from tests.benchmarks.agents import ONCE, Agents, agents
from tests.benchmarks.gpu_ground import process
from tests.benchmarks.host_ways import WAYS, NotPossible, Way, hogging, ready
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, rounded, say
from tests.benchmarks.seats import evict_all, residents
from tests.benchmarks.server import real_server

READINGS = (
    "host_available_mib",
    "swap_used_percent",
    "swap_mib_per_s",
    "major_faults_per_s",
    "psi_memory_some_percent",
    "psi_memory_full_percent",
)
# Long enough that the last rung still finds it at the desk; its own patience is short, so that it says why it left.
SEAT_SECONDS, PATIENCE_SECONDS = 60.0, 20.0
SETTLED_SECONDS, POLL_SECONDS = 120.0, 0.25
DAY = Hours(night_from=wall_time(0), night_until=wall_time(0))
PROMPT = "Write two sentences about a desk that fifty people share."


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    os.environ.setdefault("HOTDESK_PROFILE", "cpu-only")
    report = Report("host_pressure", machine.describe())
    try:
        with real_server() as server:
            _link_weights(server.where)
            for line in ("gpu", "cpu"):
                server.make_limit(line, 1)
            for way in WAYS:
                if options.only in (None, way.name):
                    report.ours[way.name] = _tried(way, options, report)
            evict_all()
    finally:
        report.emit()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.host_pressure", description=__doc__)
    parser.add_argument("--only", choices=[way.name for way in WAYS], help="one way")
    parser.add_argument("--up-seconds", type=float, default=Cooldown().up_seconds, help="between two rungs up")
    parser.add_argument("--down-seconds", type=float, default=Cooldown().down_seconds, help="between two rungs down")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="of the hog's file or swap; on a disk")
    return parser.parse_args()


def _link_weights(where: Home) -> None:
    """As the tests have them: `HOTDESK_TEST_WEIGHTS`, else fetched once into the user's cache folder."""
    named = os.environ.get("HOTDESK_TEST_WEIGHTS")
    cache = Home(platformdirs.user_cache_path("hotdesk", appauthor=False))
    cache.weights.mkdir(parents=True, exist_ok=True)
    file = Path(named).resolve(strict=True) if named else fetch_weights(cache)
    (where.weights / file.name).symlink_to(file)


def _tried(way: Way, options: argparse.Namespace, report: Report) -> dict[str, Any]:
    """One way, and what is expected of it."""
    try:
        with ready(way, options.folder) as told:
            found = _under_pressure(way, told, options)
    except NotPossible as error:
        say(f"{way.name}: not possible here: {error}")
        found = {"not_possible": str(error)}
    _judge(way.name, found, report)
    return found


def _judge(name: str, found: dict[str, Any], report: Report) -> None:
    measured = "not_possible" not in found
    climbed = found.get("rungs", [])
    report.expect(
        f"{name}: the governor acts in order",
        "trim, evict idle, pause the line, and back to normal, one at a time",
        {"rungs": climbed} if measured else None,
        rung_steps.in_order(climbed) and Rung.PAUSE_LINE.value in climbed,
    )
    idle, left = found.get("idle_models", 0), found.get("idle_models_that_left", 0)
    report.expect(
        f"{name}: idle models leave", "all", {"idle": idle, "left": left} if measured else None, idle == left > 0
    )
    answered = found.get("next_agent")
    report.expect(
        f"{name}: the next agent completes",
        "a checked answer, and no run before it fails without a reason",
        answered,
        answered is not None and answered["verified"] and not found["agents"]["failures"],
    )
    looks = found.get("looks")
    failed = looks and {"failures": looks["failures"]}
    report.expect(f"{name}: the governor's looks", "0 failures", failed, bool(looks) and not looks["failures"])


def _under_pressure(way: Way, told: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """An agent at the desk and an idle model beside it; the hog; the ladder up, and down once it is gone."""
    from governor.profile import current_profile  # after the server's address stands in the environment

    heavy, tiny = (current_profile().tiers[tier] for tier in ("heavy", "tiny"))
    cooldown = Cooldown(up_seconds=options.up_seconds, down_seconds=options.down_seconds)
    with agents() as cast:
        for number, spec in enumerate((heavy, tiny)):
            cast.start(f"once-{number}", spec, *ONCE)
        cast.wait_for(lambda: len(cast.runs) >= 2, "the models are not in memory", seconds=SETTLED_SECONDS)
        rules = Rules(marks=way.marks(), hours=DAY, cooldown=cooldown)
        keep_rules(rules)
        seat_told = ("--seat-seconds", str(SEAT_SECONDS), "--patience-seconds", str(PATIENCE_SECONDS))
        cast.start("writer", heavy, *seat_told)
        cast.wait_for(lambda: _at_work(heavy), "nobody works", seconds=SETTLED_SECONDS)
        with process("governor_looks", []) as looks:
            idle_before = {row.id for row in residents() if row.claimed_by is None}
            began_s = time.monotonic()
            say(f"{way.name}: the hog begins, {memory.memory('ram').free_mib():.0f} MiB available")
            with hogging(told):
                full_s = time.monotonic()
                _watch(way, cast, lambda: _is_at_top(began_s), 6 * options.up_seconds + 30.0)
            gone_s = time.monotonic()
            say(f"{way.name}: the hog is gone, rung {standing().rung}")
            _watch(way, cast, lambda: standing().rung is Rung.NORMAL, 5 * options.down_seconds + 60.0)
            taken = rung_steps.steps(began_s, time.monotonic(), READINGS)
            cast.stop()
            answered = _next_agent()
            said, _ = looks.communicate(timeout=30.0)
    left = idle_before - {row.id for row in residents()}
    return {
        "marks": [
            mark.model_dump(mode="json", include={"reading", "high", "low", "persistence"}) for mark in rules.marks
        ],
        "hog_full_after_s": rounded(full_s - began_s),
        "hog_gone_after_s": rounded(gone_s - began_s),
        "rungs": rung_steps.rungs(taken),
        "steps": taken,
        "idle_models": len(idle_before),
        "idle_models_that_left": len(left),
        "agents": cast.summary(),
        "next_agent": answered,
        "looks": json.loads(said or "{}"),
    }


def _at_work(spec: ModelSpec) -> bool:
    return any(row.claimed_by is not None and row.line == spec.line for row in residents())


def _is_at_top(began_s: float) -> bool:
    """The last rung was there, or the one before it and nobody is at the desk who could be ended."""
    climbed = rung_steps.rungs(rung_steps.steps(began_s, time.monotonic(), READINGS))
    if Rung.FORCE_EVICT.value in climbed:
        return True
    return Rung.PAUSE_LINE.value in climbed and not any(row.claimed_by for row in residents())


def _watch(way: Way, cast: Agents, over: Callable[[], bool], seconds: float) -> None:
    """Until it is over, or for so long; says how the ladder stands."""
    ends_s, told = time.monotonic() + seconds, None
    while time.monotonic() < ends_s and not over():
        stands = standing()
        if stands.rung is not told:
            told = stands.rung
            say(f"{way.name}: rung {told}, {cast.summary()['outcomes']}")
        time.sleep(POLL_SECONDS)


def _next_agent() -> dict[str, Any]:
    """One that comes now, by the way that every agent goes."""
    from governor.asking import ask_all
    from governor.batch import Mandate
    from governor.policy.facts import Kind
    from governor.policy.requests import ModelRequest

    began_s = time.monotonic()
    request = ModelRequest(kind=Kind.WRITE, prompt=PROMPT, max_tokens=48)
    asked = ask_all([request], Mandate("next", SETTLED_SECONDS))
    answer = asked.answers[0]
    return {"verified": answer.verified, "words": answer.text[:120], "seconds": rounded(time.monotonic() - began_s)}


if __name__ == "__main__":
    sys.exit(main())
