"""The machine that a trace happens on: a 6 GiB card, a host and models of ours, stepped at 0.1 s. Acts change it.

A closed loop: what a guard evicts is free 0.1 to 0.3 s later, what it terminates loses its work, who is paused does
not begin, and an agent whose model is gone loads it again once it fits. Deterministic for a seed. How agents sit is
`simulated_seats`, what the host makes of it `simulated_host`.
"""

import math
import random
from dataclasses import dataclass

from tests.benchmarks.curves import Curve
from tests.benchmarks.guards import Act, Do
from tests.benchmarks.simulated_host import Host
from tests.benchmarks.simulated_seats import DEADLINE_SECONDS, STEP_SECONDS, Seats, sound_call_seconds, speed_percent
from tests.benchmarks.trace_shape import End, Model, Shape

# Measured with llama-server on a card: an unload 0.10 s, SIGKILL 0.14 s, SIGTERM 0.16 to 0.32 s.
UNLOAD_SECONDS, END_SECONDS = (0.10, 0.30), (0.14, 0.32)
# What admission leaves free on the card, as `governor.policy.residency` does.
RESERVE_MIB = 400.0
# Layers on the CPU: 6% of the card's speed (measured). Below an eighth an agent does not get done in its time. Where
# that ends badly is a convention: when as much work was done so as a whole seat of five calls may take (`asking`: a
# minute, and twice what the calls may).
CRAWL_PERCENT, CRAWL_SECONDS = 12.5, 60.0 + 2 * 5 * DEADLINE_SECONDS
UNATTRIBUTED_MIB = 40.0
GPU_READINGS = ("vram_total_mib", "vram_free_mib", "vram_unattributed_mib", "vram_others_mib", "vram_floor_drift_mib")


@dataclass
class Resident:
    """A model in memory. `gone_s`: when its memory will be free again, None while it stays."""

    model: Model
    resident_id: int
    since_s: float
    used_s: float
    ready_s: float
    at_start: bool = False
    busy: bool = False
    gone_s: float | None = None

    def vram_mib(self, at_s: float) -> float:
        """What the driver charges to it: while it loads, as much as has come."""
        if self.model.memory != "vram":
            return 0.0
        come = 1.0 if at_s >= self.ready_s else 1.0 - (self.ready_s - at_s) / self.model.load_seconds
        return self.model.mib * come + self.fault(self.model.slack_mib, at_s) - self.fault(self.model.spilled_mib, at_s)

    def fault(self, curve: Curve, at_s: float, sound: float = 0.0) -> float:
        """Of the process of the start; `sound` for a new one."""
        return curve.at(at_s) if self.at_start else sound

    @property
    def host_mib(self) -> float:
        """What its process takes of the host's memory."""
        return self.model.mib if self.model.memory == "ram" else self.model.host_mib

    def settled(self, at_s: float) -> bool:
        """Neither on its way in nor on its way out."""
        return self.gone_s is None and at_s >= self.ready_s


@dataclass(frozen=True)
class Process:
    """As a killer of processes sees it: resident and swapped memory. `owner`: whom a kill would hit."""

    name: str
    owner: str
    rss_mib: float
    swap_mib: float


class World:
    """The machine at one moment. Guards read it; only `step` and `apply` change it."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.shape, self.at_s, self.paused = shape, 0.0, set[str]()
        self.host, self.rng = Host(shape.host), random.Random(seed)
        self.residents: dict[str, Resident] = {}
        self.seats = {m.name: Seats(m.used, sound_call_seconds(m.tokens_per_s)) for m in shape.models}
        self.ended: End | None = None
        self.reloads, self.crawled_s, self.relieved = 0, 0.0, False
        self._ids, self._lowest_mib, self._driven_out = 0, math.inf, set[str]()
        self._about: dict[str, str] = {}
        # Models that a guard wants out, and since when.
        self.unwell: dict[str, float] = {}
        self._noise = {(round(at_s / STEP_SECONDS), name): value for at_s, name, value in shape.noise}
        for model in shape.models:
            if model.loaded:
                self._come(model, at_start=True)
        self._settle(STEP_SECONDS)

    def step(self) -> None:
        """0.1 s on; a machine that slept wakes later."""
        asleep = self.shape.asleep
        slept_s = asleep[1] if asleep is not None and self.at_s <= asleep[0] < self.at_s + STEP_SECONDS else 0.0
        self.at_s = round(self.at_s + STEP_SECONDS + slept_s, 1)
        for name, resident in list(self.residents.items()):
            if resident.gone_s is not None and self.at_s >= resident.gone_s:
                del self.residents[name]
        for model in self.shape.models:
            self._work(model)
        self._settle(STEP_SECONDS)
        self.ended = self.ended or self._end()

    def apply(self, act: Act) -> bool:
        """Whether it changed anything."""
        resident = self.residents.get(act.target)
        if act.do in (Do.PAUSE, Do.RESUME):
            changed = (act.target in self.paused) is (act.do is Do.RESUME)
            (self.paused.add if act.do is Do.PAUSE else self.paused.discard)(act.target)
            return changed
        if act.do in (Do.TRIM, Do.RESTORE):
            return True
        if resident is None:
            killed = act.do is Do.KILL and act.target in self.host.processes()
            self.host.ended |= {act.target} if killed else set()
            return killed
        if resident.gone_s is not None or (act.do is Do.EVICT and resident.busy):
            return False
        self._driven_out.add(act.target)
        self._go(resident, UNLOAD_SECONDS if act.do is Do.EVICT else END_SECONDS)
        return True

    @property
    def night(self) -> bool:
        """Whether the marks of the night count."""
        return self.at_s >= self.shape.night_from_s

    @property
    def vram_others_mib(self) -> float:
        """What the card holds without us."""
        neighbour_mib = self.shape.neighbour_mib.at(self.at_s)
        return ("desktop" not in self.host.ended) * self.shape.desktop_mib.at(self.at_s) + neighbour_mib

    @property
    def vram_free_mib(self) -> float:
        """Below zero: somebody was refused."""
        ours_mib = sum(r.vram_mib(self.at_s) for r in self.residents.values())
        return self.shape.card_mib - self.vram_others_mib - ours_mib

    def processes(self) -> list[Process]:
        """Those that are large enough to matter; what is swapped is shared out by size."""
        found = [(r.model.name, "ours in use" if r.busy else "ours idle", r.host_mib) for r in self.residents.values()]
        for name, mib in self.host.processes().items():
            found.append((name, "desktop" if name == "desktop" else "neighbour", mib))
        total_mib = sum(mib for _, _, mib in found) or 1.0
        swapped = self.host.swapped_mib / total_mib
        return [Process(name, owner, mib * max(0.0, 1 - swapped), mib * swapped) for name, owner, mib in found]

    def _come(self, model: Model, *, at_start: bool = False) -> None:
        self._ids += 1
        since_s = -3600.0 if at_start else self.at_s
        used_s, ready_s = (-model.idle_seconds, since_s) if at_start else (self.at_s, self.at_s + model.load_seconds)
        self.residents[model.name] = Resident(model, self._ids, since_s, used_s, ready_s, at_start)

    def _go(self, resident: Resident, between: tuple[float, float]) -> None:
        resident.gone_s, resident.busy = self.at_s + self.rng.uniform(*between), False

    def _work(self, model: Model) -> None:
        """Agents sit down, stand up, and load what is missing when it fits."""
        resident, seats = self.residents.get(model.name), self.seats[model.name]
        wanted, may_begin = seats.wanted(self.at_s), model.memory not in self.paused
        if resident is None:
            seats.lost()
            loading = any(self.at_s < r.ready_s for r in self.residents.values() if r.model.memory == model.memory)
            free_mib = self.vram_free_mib if model.memory == "vram" else self.host.available_mib
            fits = free_mib >= model.mib + RESERVE_MIB
            if wanted and fits and not loading and may_begin:
                self._come(model)
                self.reloads += model.name in self._driven_out
        elif seats.begins and may_begin and resident.since_s < self.unwell.get(model.name, -math.inf):
            self._driven_out.add(model.name)  # as `governor.residency` has it: loaded anew between two seats
            self._go(resident, UNLOAD_SECONDS)
        elif resident.settled(self.at_s):
            resident.busy = seats.work(self.at_s, self._speed(resident), may_begin=may_begin)
            resident.used_s = self.at_s if resident.busy else resident.used_s
            if not resident.busy and any(0 <= self.at_s - leaves_s < STEP_SECONDS for leaves_s in model.leaves_s):
                self._go(resident, UNLOAD_SECONDS)

    def _settle(self, seconds: float) -> None:
        self.host.step(self.at_s, seconds, sum(r.host_mib for r in self.residents.values()))
        self._lowest_mib = min(self._lowest_mib, self.vram_others_mib)
        slow = any(r.busy and self._speed(r) < CRAWL_PERCENT for r in self._settled())
        self.crawled_s += seconds if slow else 0.0
        sign = self.shape.sign
        self.relieved |= sign is not None and self.at_s >= sign.at_s and self.vram_free_mib >= sign.relief_mib

    def _speed(self, resident: Resident) -> float:
        return resident.fault(resident.model.speed_percent, self.at_s, 100.0)

    def _settled(self) -> list[Resident]:
        return [r for r in self.residents.values() if r.settled(self.at_s)]

    def _end(self) -> End | None:
        sign = self.shape.sign
        ends = {
            End.CARD_FULL: self.vram_free_mib < 0,
            End.HOST_FULL: self.host.out_of_memory,
            End.FROZEN: self.host.frozen,
            End.NO_DESKTOP: sign is not None and self.at_s >= sign.at_s + sign.grace_s and not self.relieved,
            End.CRAWLS: self.crawled_s >= CRAWL_SECONDS,
        }
        return next((end for end, is_so in ends.items() if is_so), None)

    def readings(self) -> dict[str, float | None]:
        """As the sensors name them; unknown is None."""
        seen = {**self._card(), **self.host.readings(), **self._models()}
        if any(begins <= self.at_s < until for begins, until in self.shape.unreadable):
            seen |= dict.fromkeys(GPU_READINGS)
        for name in seen if self._noise else ():
            seen[name] = self._noise.get((round(self.at_s / STEP_SECONDS), name), seen[name])
        return seen

    def about(self, name: str) -> str:
        """The model, or the line, that a reading is about."""
        return self._about.get(name, "")

    def _card(self) -> dict[str, float | None]:
        """Who takes how much is not known while a model loads: its processes are not, yet."""
        loading = any(self.at_s < r.ready_s for r in self.residents.values() if r.model.memory == "vram")
        others_mib = None if loading else self.vram_others_mib
        return {
            "vram_total_mib": self.shape.card_mib,
            "vram_free_mib": max(0.0, self.vram_free_mib),
            "vram_unattributed_mib": UNATTRIBUTED_MIB,
            "vram_others_mib": others_mib,
            "vram_floor_drift_mib": None if others_mib is None else others_mib - self._lowest_mib,
        }

    def _models(self) -> dict[str, float | None]:
        there, sign = self._settled(), self.shape.sign
        signs = sign is not None and 0 <= self.at_s - sign.at_s < sign.counts_s
        models_mib = sum(r.model.mib for r in self.residents.values())
        found: dict[str, float | None] = {"models_mib": models_mib, "kernel_signs": float(signs)}
        found["models_percent"] = 100 * models_mib / self.shape.budget_mib
        self._about = {"kernel_signs": sign.text if sign and signs else ""}
        for name in ("vram_slack_mib", "spilled_mib"):
            values = {r.model.name: r.fault(getattr(r.model, name.removeprefix("vram_")), self.at_s) for r in there}
            self._about[name] = max(values, key=lambda model: values[model], default="")
            found[name] = values.get(self._about[name])
        found["speed_percent"], self._about["speed_percent"] = self._slowest(there)
        return found

    def _slowest(self, there: list[Resident]) -> tuple[float | None, str]:
        """The slowest model on the card whose speed is known, as `governor.sensors.residents` tells it."""
        on_card = [r for r in there if r.model.memory == "vram"]
        speeds = {r.model.name: self._told_speed(r) for r in on_card}
        known = {model: speed for model, speed in speeds.items() if speed is not None}
        slowest = min(known, key=lambda model: known[model], default=next(iter(speeds), ""))
        return (speeds[slowest], slowest) if speeds else (100.0, "")

    def _told_speed(self, resident: Resident) -> float | None:
        return speed_percent(self.seats[resident.model.name].recorded, resident.since_s, self.at_s)
