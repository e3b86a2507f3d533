"""One guard on one trace, and what is counted of it: how soon, how it ended, what was hit, and what was not needed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.benchmarks.guards import Act, Do, Guard, Readings
from tests.benchmarks.simulated import STEP_SECONDS, World
from tests.benchmarks.trace_shape import End, Trace

ENDS = (Do.EVICT, Do.TERMINATE, Do.KILL)
# Nobody's work suffers: a model in use is not evicted.
GENTLE = (Do.TRIM, Do.EVICT)
# What an act may come late by when its cause has just gone.
GRACE_SECONDS = 2.0


@dataclass
class Outcome:
    """What happened.

    Attributes:
        ended: how it went wrong, and when; None when it did not.
        acts: those that changed anything, by time. false_acts: where nothing would have happened (there nothing but
            gentle acts on a still trace are right), before there was any pressure or after it, on a memory that was
            not pressed, or on the desktop.
        gentle_acts: those on a still trace that are no mistake. hits: whom evictions and kills met.
        over_evictions: models of ours ended beyond what was needed, and not gently on a still trace.
        reloads: of models that a guard had ended.
    """

    trace: Trace
    guard: str
    ended: End | None = None
    ended_s: float | None = None
    acts: list[tuple[float, Act]] = field(default_factory=list)
    false_acts: list[tuple[float, Act]] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    reloads: int = 0

    @property
    def gentle_acts(self) -> list[tuple[float, Act]]:
        """On a still trace; none on another one."""
        return [(at_s, act) for at_s, act in self.acts if self.trace.gentle_only and act.do in GENTLE]

    @property
    def over_evictions(self) -> int:
        """Models of ours that ended although fewer would have been enough."""
        gently = sum(act.do is Do.EVICT for _, act in self.gentle_acts)
        return max(0, self.hits["ours idle"] + self.hits["ours in use"] - gently - len(self.trace.cure))

    @property
    def first_act_seconds(self) -> float | None:
        """From the beginning of the pressure to the first act that was not false."""
        begins_s, wrong = self.trace.begins_s, set(self.false_acts)
        right = [at_s for at_s, act in self.acts if (at_s, act) not in wrong and act.do not in (Do.RESUME, Do.RESTORE)]
        return None if begins_s is None or not right else round(right[0] - begins_s, 1)

    @property
    def first_freeing_seconds(self) -> float | None:
        """The same to the first act that frees memory."""
        freeing = [at_s for at_s, act in self.acts if act.do in ENDS and (at_s, act) not in set(self.false_acts)]
        return None if self.trace.begins_s is None or not freeing else round(freeing[0] - self.trace.begins_s, 1)

    @property
    def in_time(self) -> bool:
        """Whether nothing went wrong."""
        return self.ended is None


class Nobody:
    """Acts never."""

    name = "nobody"

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        """See Guard."""
        return []


@dataclass
class Knowing:
    """Knows the trace: ends these models when the pressure begins, and lets none of them in while another one lasts."""

    trace: Trace
    left: list[str]
    name: str = "one who knows"

    def step(self, at_s: float, readings: Readings, world: World) -> list[Act]:
        """See Guard."""
        if at_s < (self.trace.begins_s or 0.0):
            return []
        there = [name for name in self.left if name in world.residents and world.residents[name].settled(at_s)]
        self.left = [name for name in self.left if name not in there]
        several = len(self.trace.cure) > 1
        lines = [Act(Do.RESUME if at_s > self.trace.until_s else Do.PAUSE, memory) for memory in self.trace.pressed]
        return [*(lines if several else []), *(Act(Do.TERMINATE, name) for name in there)]


class _Seen(Mapping[str, float | None]):
    """The readings of one step, taken when somebody looks."""

    def __init__(self, world: World) -> None:
        self._world, self._taken = world, dict[str, float | None]()

    def _take(self) -> dict[str, float | None]:
        self._taken = self._taken or self._world.readings()
        return self._taken

    def __getitem__(self, name: str) -> float | None:
        return self._take()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._take())

    def __len__(self) -> int:
        return len(self._take())


def play(trace: Trace, guard: Guard, seed: int = 0) -> Outcome:
    """Step by step until the trace is over or it went wrong."""
    world, outcome = World(trace.shape, seed), Outcome(trace, guard.name)
    while world.at_s < trace.seconds and world.ended is None:
        world.step()
        for act in guard.step(world.at_s, _Seen(world), world):
            _do(act, world, outcome)
    outcome.ended, outcome.reloads = world.ended, world.reloads
    outcome.ended_s = world.at_s if world.ended else None
    return outcome


def _do(act: Act, world: World, outcome: Outcome) -> None:
    owner = next((p.owner for p in world.processes() if p.name == act.target), "")
    resident = world.residents.get(act.target)
    memory = act.target if act.do in (Do.PAUSE, Do.RESUME) else resident.model.memory if resident else ""
    if not world.apply(act):
        return
    outcome.acts.append((world.at_s, act))
    if act.do in ENDS:
        outcome.hits[owner] += 1
    if _is_false(act, memory, owner, world.at_s, outcome.trace):
        outcome.false_acts.append((world.at_s, act))


def _is_false(act: Act, memory: str, owner: str, at_s: float, trace: Trace) -> bool:
    if act.do in (Do.RESUME, Do.RESTORE):
        return False
    if owner == "desktop":
        return True
    if trace.calm or trace.begins_s is None:
        return not (trace.gentle_only and act.do in GENTLE)
    pressed = trace.begins_s - STEP_SECONDS <= at_s <= trace.until_s + GRACE_SECONDS
    return not pressed or (memory != "" and memory not in trace.pressed)
