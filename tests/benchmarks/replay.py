"""The same day under different rules of eviction: reloads, and the seconds that they stall the desk.

A model in memory stays until room is needed. Every model's first load of the day is nobody's choice and is not
counted. The optimum knows the true day; it is found by trying every set of models (`least`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from governor.policy.eviction import Size
from tests.benchmarks.days import NEVER, Day, Seat

Sizes = Mapping[str, Size]


@dataclass
class Memory:
    """What is in memory: when each model came in and when it was last used, in seconds of the day."""

    room_mib: float
    sizes: Sizes
    since_s: dict[str, float] = field(default_factory=dict)
    used_s: dict[str, float] = field(default_factory=dict)

    def short_mib(self, newcomer: str) -> float:
        """What must become free before `newcomer` fits."""
        return sum(self.sizes[model].mib for model in self.since_s) + self.sizes[newcomer].mib - self.room_mib

    def leave(self, models: Sequence[str]) -> None:
        """Take them out."""
        for model in models:
            del self.since_s[model], self.used_s[model]


@dataclass(frozen=True)
class Outcome:
    """Loads after each model's first, their seconds, and at how many of all loads there was a choice."""

    swaps: int
    stall_seconds: float
    loads: int
    with_choice: int


class Rule:
    """Who leaves. `keep_alive_seconds`: who is idle for longer is out already when the next seat begins."""

    keep_alive_seconds = NEVER

    def leaving(self, seat: Seat, memory: Memory, day: Day) -> Sequence[str]:
        """Who leaves so that the seat's model, which is not in memory, fits."""
        raise NotImplementedError

    def seated(self, seat: Seat, day: Day) -> None:
        """Told of every seat, after its model came in."""


def replay(day: Day, room_mib: float, sizes: Sizes, rule: Rule) -> Outcome:
    """Serve the day's seats in order."""
    memory, seen = Memory(room_mib, sizes), set[str]()
    swaps, stalled, loads, with_choice = 0, 0.0, 0, 0
    for seat in day.seats:
        memory.leave([m for m, used_s in memory.used_s.items() if seat.begins_s - used_s > rule.keep_alive_seconds])
        if seat.model not in memory.since_s:
            loads, with_choice = loads + 1, with_choice + _has_choice(memory, seat.model)
            memory.leave(rule.leaving(seat, memory, day))
            assert memory.short_mib(seat.model) <= 0, f"{seat.model} does not fit"
            memory.since_s[seat.model] = seat.begins_s
            swaps += seat.model in seen
            stalled += sizes[seat.model].load_seconds if seat.model in seen else 0.0
            seen.add(seat.model)
        memory.used_s[seat.model] = seat.ends_s
        rule.seated(seat, day)
    return Outcome(swaps, stalled, loads, with_choice)


def _has_choice(memory: Memory, newcomer: str) -> bool:
    """Whether there is more than one way to make just enough room."""
    short_mib, inside = memory.short_mib(newcomer), memory.since_s
    ways = [set(way) for size in range(len(inside) + 1) for way in combinations(inside, size)]
    enough = [way for way in ways if sum(memory.sizes[model].mib for model in way) >= short_mib]
    return sum(not any(other < way for other in enough) for way in enough) > 1


def least(day: Day, room_mib: float, sizes: Sizes, cost: Callable[[str], float]) -> float:
    """The least total cost of reloads with the whole day known: every set of models that fits, step by step."""
    reached: dict[frozenset[str], float] = {frozenset(): 0.0}
    for model in day.models:
        then: dict[frozenset[str], float] = {}
        for inside, spent in reached.items():
            loads = 0.0 if model in inside else cost(model)
            for after in (inside,) if model in inside else _fitting(inside, model, room_mib, sizes):
                then[after] = min(then.get(after, NEVER), spent + loads)
        reached = then
    return min(reached.values()) - sum(cost(model) for model in set(day.models))


def _fitting(inside: frozenset[str], model: str, room_mib: float, sizes: Sizes) -> list[frozenset[str]]:
    """Whatever may stay in memory beside `model`."""
    free_mib = room_mib - sizes[model].mib
    stays = (way for size in range(len(inside) + 1) for way in combinations(sorted(inside), size))
    return [frozenset((*way, model)) for way in stays if sum(sizes[other].mib for other in way) <= free_mib]
