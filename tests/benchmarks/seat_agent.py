"""One agent: goes through `governor.desk` to a model again and again, has it write for some seconds, and stands up.

A process of its own. It says a line of JSON for every run; when its input ends it stands up after the answer under
way. What it does with a lost seat is what `governor.asking` does: it queues again, once. With `--pretend-*` it stands
before the pretended card of `gpu_ground`.
"""

import argparse
import json
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import Self

from governor import desk as desks
from governor import sentinel
from governor.desk import Seat, desk
from governor.errors import DoesNotFit, HotdeskError, LeftLine, SeatLost
from governor.line import Errand
from governor.policy.facts import ModelSpec
from tests.benchmarks import gpu_ground
from tests.benchmarks.churn import InstantLimit
from tests.benchmarks.gpu_use import Broken, ask, random_prompt

BUDGET_SECONDS = 180.0
# A run that came to nothing is an agent that runs again at its next time.
NEXT_TIME_SECONDS = 5.0
TOKENS, CPU_TOKENS = 192, 8


@dataclass
class Run:
    """How one run ended: `done`, or `left the line`, `does not fit`, `seat lost` with the reason, or `failed`.

    Moments are seconds of the monotonic clock. `seats_lost`: how often it queued again for that, or ended for it.
    """

    agent: str
    model: str
    began_s: float
    ended_s: float = 0.0
    outcome: str = "failed"
    why: str = ""
    seats_lost: int = 0
    answers: int = 0
    tokens: int = 0


class _Instant(InstantLimit):
    """FAKE of Prefect's limit: every request is granted. One slot is one slot by our own rows."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def main() -> None:
    """Run after run until the input ends."""
    options = _options()
    if options.pretend_mib is not None:
        gpu_ground.pretend_here(options.pretend_mib, options.pretend_neighbour)
        sentinel.Sensors = gpu_ground.pretended_sensors  # type: ignore[assignment]  # only beside a pretended card
    if options.instant_limit:
        desks.PrefectLimit = _Instant  # type: ignore[misc]  # only where no server can be had; the report says so
    over, dice = threading.Event(), random.Random(options.agent)
    threading.Thread(target=_until_input_ends, args=(over,), daemon=True).start()
    spec = ModelSpec.model_validate_json(options.spec)
    while not over.is_set():
        run = _run(options, spec, dice, over)
        print(json.dumps(asdict(run)), flush=True)
        over.wait(options.rest_seconds if run.outcome == "done" else NEXT_TIME_SECONDS)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.seat_agent", description=__doc__)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--spec", required=True, help="a ModelSpec as JSON")
    parser.add_argument("--patience-seconds", type=float, default=45.0)
    parser.add_argument("--seat-seconds", type=float, default=12.0, help="it writes answer after answer for so long")
    parser.add_argument("--rest-seconds", type=float, default=0.5, help="between two runs")
    parser.add_argument("--instant-limit", action="store_true", help="a fake of Prefect's limit that grants all")
    parser.add_argument("--pretend-mib", type=float)
    parser.add_argument("--pretend-neighbour", type=int)
    return parser.parse_args()


def _until_input_ends(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


def _run(options: argparse.Namespace, spec: ModelSpec, dice: random.Random, over: threading.Event) -> Run:
    run = Run(options.agent, spec.model, time.monotonic())
    ends_s = run.began_s + options.patience_seconds
    try:
        for _ in range(2):
            errand = Errand(spec.line, run.agent, spec.model, max(0.0, ends_s - time.monotonic()))
            try:
                with desk(spec, errand, budget_seconds=BUDGET_SECONDS) as seat:
                    _work(seat, run, options.seat_seconds, dice, over)
                run.outcome = "done"
                break
            except SeatLost as error:
                run.seats_lost += 1
                run.outcome, run.why = "seat lost", error.happened
    except LeftLine as error:
        run.outcome, run.why = "left the line", error.happened
    except DoesNotFit as error:
        run.outcome, run.why = "does not fit", error.happened
    except (HotdeskError, Broken) as error:
        run.outcome, run.why = "failed", f"{type(error).__name__}: {error}"[:400]
    run.ended_s = time.monotonic()
    return run


def _work(seat: Seat, run: Run, seconds: float, dice: random.Random, over: threading.Event) -> None:
    """Answer after answer; an engine that was ended under a void seat is a lost seat."""
    ends_s, where = time.monotonic() + seconds, seat.loaded
    tokens = TOKENS if seat.spec.gpu_layers else CPU_TOKENS
    while True:
        seat.check()
        try:
            said = ask(where.address, where.api_key, seat.spec.model, tokens=tokens, prompt=random_prompt(dice))
        except Broken:
            seat.check()
            raise
        seat.check()
        run.answers, run.tokens = run.answers + 1, run.tokens + said.tokens
        if time.monotonic() >= ends_s or over.is_set():
            return


if __name__ == "__main__":
    main()
