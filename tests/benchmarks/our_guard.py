"""Our governor on a trace: the pure policy as production asks it, and who looks when.

The flow `govern` comes every three minutes, looks with every sensor and goes on for 100 s while anything is bad; beside
every seat, and while `hotdesk up` runs, a sentinel looks too, with the cheap sensors, and glances at the card in
between. All move one ladder. What they do is done as `governor.governing` does it: one act a look, and who waits for
memory to come back does not look meanwhile. A glance plans on the card alone.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from governor.governing import LEAST_LOOK_SECONDS, MOST_LOOK_SECONDS
from governor.policy.escalation import ACT_SECONDS, plan
from governor.policy.facts import Held, Level, Reading, Rung
from governor.policy.ladder import LADDER, Move, Scene, Standing
from governor.policy.pressure import Assessment, assess, next_look_seconds
from governor.policy.rules import Rules
from governor.sentinel import FIRST_LOOK_SECONDS
from governor.tick import COSTLY_EVERY_SECONDS, WATCH_SECONDS
from tests.benchmarks.guards import Act, Do, Readings
from tests.benchmarks.simulated import Resident, World

# prefect.yaml: the flow `govern` at every third minute.
FLOW_SECONDS = 180.0
MIDDAY = datetime(2026, 11, 25, 12, tzinfo=UTC)
# `governor.looking`: what the engines tell is asked for with the costly figures only.
GLANCED = ("vram_free_mib", "vram_others_mib")
COSTLY = {"models_mib", "models_percent", "vram_slack_mib", "vram_floor_drift_mib", "spilled_mib", "speed_percent"}


@dataclass
class Looker:
    """One who looks, and what it saw before. `until_s`: when it goes away again."""

    next_s: float
    until_s: float
    seen: Assessment = field(default_factory=Assessment)
    costly_s: float = -math.inf
    begun: bool = False
    busy_until_s: float = -math.inf


@dataclass
class OurGovernor:
    """The flow and the sentinels over one ladder.

    Attributes:
        phase: when the flow comes for the first time, and when a sentinel's looks fall: a share of their intervals.
        up: whether `hotdesk up` runs, which has a sentinel of its own. most_look_seconds: between two looks when all is
            calm.
        standing, moves: where the ladder stands, and what it came to there.
    """

    phase: float = 0.3
    up: bool = True
    most_look_seconds: float = MOST_LOOK_SECONDS
    rules: Rules = field(default_factory=Rules)
    standing: Standing = field(default_factory=Standing)
    moves: list[tuple[float, Move]] = field(default_factory=list)
    flow: Looker | None = None
    flow_seen: Assessment = field(default_factory=Assessment)
    sentinels: dict[str, Looker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.flow_s = FLOW_SECONDS * self.phase

    @property
    def name(self) -> str:
        """For print."""
        return "ours" if self.up else "ours, without hotdesk up"

    @property
    def rung(self) -> Rung:
        """Where the ladder stands."""
        return self.standing.rung

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        """See Guard."""
        self._come_and_go(at_s, world)
        for looker in (self.flow, *self.sentinels.values()):
            if looker is None or at_s < looker.busy_until_s:
                continue
            if at_s >= looker.next_s:
                return list(self._look(looker, at_s, readings, world))
            if self._alarmed(looker, at_s, readings, world):
                return list(self._conclude(looker, at_s, world, GLANCED))
        return []

    def _alarmed(self, looker: Looker, at_s: float, readings: Readings, world: World) -> bool:
        """What a sentinel's glance says, as `governor.governing.Watch.glance` has it."""
        if looker is self.flow or not looker.begun:
            return False
        before = looker.seen.levels
        self._assess([_reading(name, readings[name], world) for name in GLANCED], looker, at_s, world)
        looker.next_s = min(looker.next_s, round(at_s + self._again_seconds(looker), 1))
        named = {name: r for name, r in looker.seen.resources.items() if name in GLANCED}
        fills = any(r.seconds_left < MOST_LOOK_SECONDS for r in named.values())
        return fills or any(r.level is Level.HIGH and before.get(n) is not Level.HIGH for n, r in named.items())

    def _come_and_go(self, at_s: float, world: World) -> None:
        """The flow by the clock, a sentinel with every seat."""
        if at_s >= self.flow_s:
            late = (at_s - self.flow_s) // FLOW_SECONDS
            self.flow_s += (late + 1) * FLOW_SECONDS
            self.flow = self.flow or Looker(at_s, at_s + WATCH_SECONDS, self.flow_seen)
        seats = [name for name, r in world.residents.items() if r.busy or (r.gone_s is None and at_s < r.ready_s)]
        here = {seat: self.sentinels.get(seat) for seat in (*seats, *(["up"] if self.up else []))}
        first_s = round(at_s + FIRST_LOOK_SECONDS + self.phase * self.most_look_seconds, 1)
        self.sentinels = {seat: it or Looker(first_s, math.inf) for seat, it in here.items()}

    def _look(self, looker: Looker, at_s: float, readings: Readings, world: World) -> Iterator[Act]:
        costly = looker is self.flow and at_s - looker.costly_s >= COSTLY_EVERY_SECONDS
        looker.costly_s = at_s if costly else looker.costly_s
        seen = [_reading(n, value, world) for n, value in readings.items() if costly or n not in COSTLY]
        self._assess(seen, looker, at_s, world)
        looker.begun = True
        first = looker.next_s == looker.until_s - WATCH_SECONDS
        again_s = self._again_seconds(looker)
        looker.next_s = round(at_s + (min(again_s, COSTLY_EVERY_SECONDS) if looker is self.flow else again_s), 1)
        yield from self._conclude(looker, at_s, world)
        if looker is self.flow:
            self._leave(looker, at_s, first=first)

    def _again_seconds(self, looker: Looker) -> float:
        return next_look_seconds(looker.seen, least=LEAST_LOOK_SECONDS, most=self.most_look_seconds)

    def _assess(self, seen: list[Reading], looker: Looker, at_s: float, world: World) -> None:
        """What was not looked at this time stays as it was."""
        names = {r.name for r in seen}
        marks = [mark for mark in self.rules.marks if mark.reading in names]
        fresh = assess(seen, marks, looker.seen, at_s=at_s, night=world.night)
        looker.seen = Assessment(resources={**looker.seen.resources, **fresh.resources})

    def _conclude(
        self, looker: Looker, at_s: float, world: World, glanced: Collection[str] | None = None
    ) -> Iterator[Act]:
        """Plan and act; a glance plans on what it saw alone."""
        marks = [mark for mark in self.rules.marks if glanced is None or mark.reading in glanced]
        names = {mark.reading for mark in marks}
        seen = Assessment(resources={name: r for name, r in looker.seen.resources.items() if name in names})
        held = tuple(_held(r, at_s) for r in world.residents.values())
        ahead_s = self._again_seconds(looker) if looker is self.flow else LEAST_LOOK_SECONDS
        scene = Scene(held=held, now=MIDDAY + timedelta(seconds=at_s), ahead_seconds=ahead_s)
        before = self.standing
        move = plan(seen, before, marks, scene, self.rules.cooldown)
        self.standing = move.standing
        acts = move.evict is not None or move.terminate is not None
        if move.changed or acts:
            self.moves.append((at_s, move))
        looker.busy_until_s = round(at_s + ACT_SECONDS, 1) if acts else at_s
        yield from self._do(before, move, world)

    def _leave(self, flow: Looker, at_s: float, *, first: bool) -> None:
        """It looks twice at least, and on until all is calm or its time is over."""
        self.flow_seen = flow.seen
        over = self.rung is Rung.NORMAL and not any(r.streak for r in flow.seen.resources.values())
        if at_s >= flow.until_s or (over and not first):
            self.flow = None

    def _do(self, before: Standing, move: Move, world: World) -> Iterator[Act]:
        """What the move names, and what its rung means for the lines."""
        at, was = LADDER.index(move.rung), LADDER.index(before.rung)
        if at and not was:
            yield Act(Do.TRIM)
        if was and not at:
            yield Act(Do.RESTORE)
        stands = move.standing
        since_s = (stands.moved_at - MIDDAY).total_seconds() if stands.moved_at else 0.0
        named = stands.causes.values() if stands.at_least(Rung.EVICT_IDLE, "vram") else ()
        world.unwell = {name: since_s for name in named if name in world.residents}
        names = {r.resident_id: r.model.name for r in world.residents.values()}
        for do, wanted in ((Do.EVICT, move.evict), (Do.TERMINATE, move.terminate)):
            if wanted is not None:
                yield Act(do, names[wanted])
        for memory in ("vram", "ram"):
            closed = move.standing.at_least(Rung.PAUSE_LINE, memory)
            if closed is not (memory in world.paused):
                yield Act(Do.PAUSE if closed else Do.RESUME, memory)


def _reading(name: str, value: float | None, world: World) -> Reading:
    why = "" if value is not None else "nobody says"
    sign = world.shape.sign
    at = MIDDAY + timedelta(seconds=sign.at_s) if name == "kernel_signs" and value and sign else None
    return Reading(name=name, value=value, unit="", why=why, about=world.about(name), at=at)


def _held(resident: Resident, at_s: float) -> Held:
    """As `governor.resident_rows.held` has it."""
    model = resident.model
    return Held(
        resident_id=resident.resident_id,
        engine="simulated",
        model=model.name,
        context_tokens=4096,
        line="gpu" if model.memory == "vram" else "cpu",
        memory_mib=model.mib,
        idle_seconds=0.0 if resident.busy else at_s - resident.used_s,
        age_seconds=at_s - resident.since_s,
        busy=resident.busy or not resident.settled(at_s),
        memory=model.memory,
        load_seconds=model.load_seconds,
        settled=resident.settled(at_s),
    )
