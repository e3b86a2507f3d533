"""Random steps on one card: use a model (found or loaded), evict one, rest; what each came to is counted and measured.

Drives the production code: `governor.residency`, `unloading`, the engine `llama_server`. What an engine process did
wrong is taken from its log, its exit status, its broken streams and its speed, never from our own opinion.
"""

import random
import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from governor.engines import engine, llama_router
from governor.errors import DoesNotFit, HotdeskError
from governor.footprints import fittings
from governor.memory import Memory
from governor.policy.facts import ModelSpec
from governor.policy.footprint import estimate_mib
from governor.state.residents import Resident
from governor.unloading import BACK_SHARE, sweep, unload_idle
from tests.benchmarks.gpu_faults import EngineLog
from tests.benchmarks.gpu_ground import Ground
from tests.benchmarks.gpu_use import Broken, ask, random_prompt
from tests.benchmarks.report import say
from tests.benchmarks.seats import residents, seat

# Of a hundred steps: how many use a model, evict one, or rest; the others sweep. Most uses are of what is there.
USE, EVICT, REST = 72, 14, 12
STAY_WITH_IT = 0.62
# The small ones more often: a thousand steps have to fit into minutes.
WEIGHTS = {"seven-a": 2, "seven-b": 2, "three": 3, "one": 4, "half": 4}
CONTEXTS = ((2048, 0), (4096, 0), (4096, 2048), (8192, 2048), (8192, 8192))
TOKENS, PRETEND_TOKENS = (8, 32), (2, 6)
REST_SECONDS = (0.02, 0.15)
TOLD_EVERY = 50
# A model with layers on the CPU runs at a sixteenth of its speed (measured); a busy host alone does not do an eighth.
SPILL_SHARE, FEW = 0.125, 5


@dataclass
class Seen:
    """Everything that was measured, in the order in which it happened."""

    steps: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    reasons: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    estimates: list[dict[str, Any]] = field(default_factory=list)
    rates: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    load_seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    noticed_ms: list[float] = field(default_factory=list)
    first_held_mib: dict[str, float] = field(default_factory=dict)
    grown_mib: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    log: EngineLog = field(default_factory=lambda: EngineLog(llama_router.log_file()))


def walk(ground: Ground, seen: Seen, *, steps: int, until_s: float, seed: int) -> None:
    """So many steps, or as many as fit until then (monotonic); what they came to goes into `seen` as they are made."""
    dice, began_s = random.Random(seed), time.monotonic()
    seen.log.look()
    while seen.steps < steps and time.monotonic() < until_s:
        _step(ground, dice, seen)
        seen.log.look()
        seen.steps += 1
        seen.seconds = time.monotonic() - began_s
        if seen.steps % TOLD_EVERY == 0:
            free = ground.memory.free_mib()
            say(f"step {seen.steps}: {dict(seen.outcomes)}, {free:.0f} MiB free, {len(seen.failures)} failures")


def _step(ground: Ground, dice: random.Random, seen: Seen) -> None:
    kind = dice.randrange(100)
    if kind < USE:
        tokens = dice.randint(*(PRETEND_TOKENS if ground.pretend else TOKENS))
        _use(_wish(ground, dice), ground, tokens, random_prompt(dice), seen)
    elif kind < USE + EVICT:
        rows = residents()
        if rows:
            _evict(dice.choice(rows), ground.memory, seen)
        else:
            seen.outcomes["nothing to evict"] += 1
    elif kind < USE + EVICT + REST:
        time.sleep(dice.uniform(*REST_SECONDS))
        seen.outcomes["rested"] += 1
    else:
        sweep(now=datetime.now(UTC))
        seen.outcomes["swept"] += 1


def _wish(ground: Ground, dice: random.Random) -> ModelSpec:
    """What is there already, more often than not; else any model in any context."""
    here = residents()
    if here and dice.random() < STAY_WITH_IT:
        row = dice.choice(here)
        return ground.spec(row.model, row.context_tokens)
    model = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    return ground.spec(model, *dice.choice(CONTEXTS))


def _use(spec: ModelSpec, ground: Ground, tokens: int, prompt: str, seen: Seen) -> None:
    expected = {(way.context_tokens, way.cache_type): way.footprint for way in fittings(spec)}
    before = {row.id for row in residents()}
    began_s = time.monotonic()
    try:
        with seat(spec) as held:
            seated_s = time.monotonic()
            answer = ask(held.loaded.address, held.loaded.api_key, spec.model, tokens=tokens, prompt=prompt)
            seen.rates[spec.model].append(answer.tokens_per_second)
    except DoesNotFit as error:
        seen.outcomes["refused"] += 1
        seen.refusals[_kind_of_refusal(error)] += 1
        seen.reasons.append(f"step {seen.steps}: {error.happened}"[:300])
        return
    except (HotdeskError, Broken) as error:
        seen.outcomes["failed"] += 1
        seen.failures.append(f"step {seen.steps}, {spec.model} at {spec.context_tokens}: {error}"[:400])
        return
    row = next((row for row in residents() if row.id not in before and row.model == spec.model), None)
    seen.outcomes["found" if row is None else "loaded"] += 1
    _grown(spec, ground, seen)
    if row is not None:
        seen.load_seconds[spec.model].append(seated_s - began_s)
        _compare(row, spec, expected[row.context_tokens, row.cache_type], ground, seen)


def _grown(spec: ModelSpec, ground: Ground, seen: Seen) -> None:
    """How much more than expected before this use its processes hold after it, at the most."""
    row = next((row for row in residents() if row.model == spec.model), None)
    held_mib = ground.memory.held_mib([int(pid) for pid in row.pids]) if row is not None else None
    if row is None or held_mib is None:
        return
    way = f"{row.model} {row.context_tokens} {row.cache_type}"
    first = seen.first_held_mib.setdefault(f"{way} {row.id}", held_mib)
    seen.grown_mib[way] = max(seen.grown_mib.get(way, 0.0), held_mib - first)


def _kind_of_refusal(error: DoesNotFit) -> str:
    """Before anything was loaded, or a load that was ended, or one that turned out wrong."""
    if "load was ended" in error.happened:
        return "ended while it loaded"
    if "layers went to the card" in error.happened or "came onto the card" in error.happened:
        return "spilled"
    return "the engine had no memory" if "llama-server says" in error.happened else "not admitted"


def _compare(row: Resident, spec: ModelSpec, expected: Any, ground: Ground, seen: Seen) -> None:
    """What it was said to take, against what the driver charged it with after its first use."""
    weights = engine(spec.engine).weights(spec)
    if row.memory_mib is None or weights is None:
        return
    header = estimate_mib(
        weights,
        context_tokens=row.context_tokens,
        cache_type=row.cache_type,
        engine_slots=row.engine_slots,
        card_mib=None if ground.pretend else ground.memory.total_mib(),
    )
    seen.estimates.append(
        {
            "model": row.model,
            "context_tokens": row.context_tokens,
            "cache_type": row.cache_type,
            "source": expected.source,
            "expected_mib": round(expected.mib, 1),
            "header_mib": round(header, 1),
            "measured_mib": round(row.memory_mib, 1),
        }
    )


def _evict(row: Resident, where: Memory, seen: Seen) -> None:
    """Told by us, watched by a thread of its own that asks the driver without a pause."""
    with _watched(row, where) as came_back_s:
        gone = unload_idle(row.id, reason="the benchmark says so")
        noticed_s = time.monotonic()
    seen.outcomes["evicted" if gone else "stuck"] += 1
    if gone and came_back_s() is not None:
        seen.noticed_ms.append(1000 * (noticed_s - (came_back_s() or noticed_s)))


class _watched:
    """Inside the block a thread reads the memory of a resident's processes; when it was seen to be back."""

    def __init__(self, row: Resident, where: Memory) -> None:
        self._pids = [int(pid) for pid in row.pids]
        self._below_mib, self._where = (1 - BACK_SHARE) * (row.memory_mib or 0.0), where
        self._back_s: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Callable[[], float | None]:
        self._thread.start()
        return lambda: self._back_s

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._pids and not self._over.is_set():
            held_mib = self._where.held_mib(self._pids)
            if held_mib is not None and held_mib <= self._below_mib:
                self._back_s = time.monotonic()
                return
            time.sleep(0.0005)


def slow_answers(seen: Seen) -> int:
    """Answers far below the usual speed of their model: it ran with layers on the CPU."""
    usual = {model: statistics.median(rates) for model, rates in seen.rates.items() if len(rates) >= FEW}
    return sum(rate < SPILL_SHARE * usual[model] for model in usual for rate in seen.rates[model])
