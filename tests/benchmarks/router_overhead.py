"""What the router costs: milliseconds of a call, microseconds of a decision, memory and refusals of fifty processes.

Ours beside litellm's own Router, one in each process, against the same fake tier over HTTP in the same run. README.md
says what is a fake.
"""

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from governor.accounts import catalogue
from governor.inference import QUIET_LITELLM
from governor.policy.allowance import Left
from governor.policy.facts import Kind, ModelSpec, Profile
from governor.policy.gains import Gains, Tally
from governor.policy.refusing import CloudFact
from governor.policy.requests import ModelRequest
from governor.policy.routing import RoutingFacts, choose
from tests.benchmarks import machine, router_agents
from tests.benchmarks.children import Child, Crew
from tests.benchmarks.report import Report, end_cleanly_on_sigterm, percentile, rounded, say
from tests.benchmarks.router_agents import Got, Shape
from tests.benchmarks.server import temporary_home

OVER_RAW_MS, CHOOSE_MS = 8.0, 0.3
LOCAL_TIERS, CLOUD_TIERS = ("heavy", "tiny", "coder", "embedder"), 12
# The tier keeps to what it is known to give, and a minute serves thirty of fifty that come at once; it gives a third of
# that, and they come at once, or as crons do: then what one is told can spare the others.
SHAPES = {
    "limit_known": Shape(30, 30, 0.0, 75.0),
    "limit_unknown": Shape(10, 30, 0.0, 20.0),
    "limit_unknown_one_by_one": Shape(10, 30, 0.4, 40.0),
}
READY_SECONDS = 240.0


def main() -> int:
    """Exit status 0 when everything was measured, whatever came out of it."""
    options = _options()
    end_cleanly_on_sigterm()
    report = Report("router_overhead", machine.describe())
    _import_litellm()
    report.ours["choose"] = _choose(options.decisions)
    say(f"choose: {report.ours['choose']}")
    if options.rounds:
        _single_calls(report, options.rounds)
    for name in options.shapes if options.processes else ():
        _many(report, name, SHAPES[name], options.processes)
    _judge(report)
    report.emit()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.router_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=400, help="calls of each kind; 0 leaves them out")
    parser.add_argument("--decisions", type=int, default=3000, help="of choose()")
    parser.add_argument("--processes", type=int, default=50, help="0 leaves them out")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    return parser.parse_args()


def _import_litellm() -> None:
    """Once, for all children; as quiet on both sides. What ours walls up, each child of ours does."""
    os.environ.update(QUIET_LITELLM)
    gc.disable()
    import litellm

    gc.freeze()
    gc.enable()
    litellm.suppress_debug_info = True


def _choose(decisions: int) -> dict[str, Any]:
    """Milliseconds of a decision among four models of this machine and twelve tiers of the cloud."""
    kinds = [kind for kind in Kind if kind is not Kind.EMBED]
    asked = [ModelRequest(kind=kind, prompt=router_agents.PROMPT, privacy="public") for kind in kinds]  # type: ignore[arg-type]  # pydantic reads the word
    known, taken = _facts(), []
    for number in range(decisions + 100):
        began_s = time.perf_counter()
        route = choose(asked[number % len(asked)], known)
        taken.append(1000 * (time.perf_counter() - began_s))
        assert route.candidates
    taken = taken[100:]
    return {"p50_ms": rounded(percentile(taken, 0.5), 3), "p95_ms": rounded(percentile(taken, 0.95), 3)}


def _facts() -> RoutingFacts:
    now = datetime.now(UTC)
    tiers = {
        name: ModelSpec(
            engine="ollama",
            model=name,
            source=name,
            line="cpu" if name == "tiny" else "gpu",
            context_tokens=8192,
            parameters_billion=0.5 if name == "tiny" else 7.6,
            expected_mib=1000,
        )
        for name in LOCAL_TIERS
    }
    profile = Profile(
        name="benchmark",
        tiers=tiers,
        slots={"gpu": 1, "cpu": 1},
        worker_limit=4,
        keep_alive_seconds=60,
        memory_budget_mib=8000,
        first_round_items=2,
        first_round_tokens=64,
    )
    models = list(catalogue().values())[:CLOUD_TIERS]
    clouds = tuple(
        CloudFact(
            model=model,
            left=tuple(Left(allowance=one, used=1, until=now + timedelta(hours=1)) for one in model.allowances),
        )
        for model in models
    )
    gains = Gains(of_kind={model.name: Tally(tried=20, verified=15) for model in models})
    ahead = {"gpu": ("heavy",) * 5, "cpu": ("tiny",)}
    return RoutingFacts(profile=profile, clouds=clouds, gains=gains, ahead=ahead, now=now)


def _single_calls(report: Report, rounds: int) -> None:
    with temporary_home(), Crew() as crew, _tier(crew, None) as tier:
        for side, work, into in (
            ("ours", router_agents.our_calls, report.ours),
            ("plain", router_agents.plain_calls, report.baseline),
        ):
            taken: dict[str, list[float]] = crew.start(work, tier.address, rounds).hear(READY_SECONDS + rounds)
            raw = statistics.median(taken["raw_httpx"])
            into["calls"] = {
                name: {
                    "p50_ms": rounded(percentile(times, 0.5), 2),
                    "p95_ms": rounded(percentile(times, 0.95), 2),
                    "p50_over_raw_ms": rounded(statistics.median(times) - raw, 2),
                }
                for name, times in taken.items()
            }
            say(f"{side}: {into['calls']}")


def _many(report: Report, name: str, shape: Shape, processes: int) -> None:
    for work, into in ((router_agents.our_agent, report.ours), (router_agents.plain_agent, report.baseline)):
        with temporary_home(), Crew() as crew, _tier(crew, shape.allowed) as tier:
            agents = [crew.start(work, tier.address, shape, number) for number in range(processes)]
            for agent in agents:
                agent.hear(READY_SECONDS)
            for agent in agents:
                agent.pipe.send("go")
            came = [agent.hear(shape.seconds + READY_SECONDS) for agent in agents]
        into[name] = _figures(came, shape) | tier.counted
        say(f"{work.__name__}, {name}: {into[name]}")


@dataclass
class _Tier:
    address: str
    counted: dict[str, int] = field(default_factory=dict)


@contextmanager
def _tier(crew: Crew, allowed: int | None) -> Iterator[_Tier]:
    """The tier in a process of its own; what it counted stands in it at the end."""
    child: Child = crew.start(router_agents.tier, allowed)
    served = _Tier(child.hear(READY_SECONDS))
    yield served
    child.pipe.send("end")
    served.counted = child.hear(READY_SECONDS)


def _figures(came: list[Got], shape: Shape) -> dict[str, Any]:
    after = [got.answered_after_seconds for got in came if got.answered_after_seconds is not None]
    return {
        "processes": len(came),
        "tier_gives_a_minute": shape.allowed,
        "told_a_minute": shape.told,
        "apart_seconds": shape.apart_seconds,
        "seconds": shape.seconds,
        "answers": sum(got.answers for got in came),
        "last_answer_after_seconds": rounded(max(after, default=None)),
        "refusals_before_a_call_or_of_one": sum(got.refusals for got in came),
        "pss_mib_each_p50": rounded(percentile([got.pss_mib for got in came], 0.5)),
        "pss_mib_all": rounded(sum(got.pss_mib for got in came), 0),
        "failures": sorted({error for got in came for error in got.errors}),
    }


def _judge(report: Report) -> None:
    calls = report.ours.get("calls")
    for name in ("ask_cloud", "complete"):
        over = calls and {"p50_over_raw_ms": calls[name]["p50_over_raw_ms"]}
        reach = f"p50 at most {OVER_RAW_MS:.0f} ms over raw httpx"
        report.expect(f"one call, {name}", reach, over, bool(over) and over["p50_over_raw_ms"] <= OVER_RAW_MS)
    choice = {"p50_ms": report.ours["choose"]["p50_ms"]}
    report.expect("choose()", f"p50 at most {CHOOSE_MS} ms", choice, choice["p50_ms"] <= CHOOSE_MS)
    for name in SHAPES:
        ours, plain = report.ours.get(name), report.baseline.get(name)
        reach = "fewer than one Router per process, for no fewer answers"
        if ours is None or plain is None:
            report.expect(f"429s paid, {name}", reach, None, None)
            continue
        fewer = ours["paid_429"] < plain["paid_429"] and ours["answers"] >= plain["answers"]
        got = {"ours_429": ours["paid_429"], "plain_429": plain["paid_429"]}
        report.expect(f"429s paid, {name}", reach, got, fewer)


if __name__ == "__main__":
    sys.exit(main())
