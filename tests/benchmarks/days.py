"""Days of the fleet, drawn with a seed: what comes to the desk, and what the schedule foretold of it.

Delays and durations are drawn as real runs have them; `schedules` makes the schedule say something else.
"""

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

from tests.benchmarks.fleet_day import Agent

DAY_SECONDS = 24 * 3600.0
MINUTE = 60.0
NEVER = float("inf")
# From the scheduled time to the ticket: a worker's first line after 1 to 15 s, then reading and fetching.
DELAY_SECONDS = (3.0, 45.0)
BETWEEN_STAGES_SECONDS = (1.0, 5.0)
# A run has between half and one and a half times the work that is expected of it.
SPREAD = (0.5, 1.5)


@dataclass(frozen=True)
class Foretold:
    """What the schedule says: a model at a time.

    It is struck out when its run takes a ticket for that model, at `ticket_s` (`NEVER`: not at all), as
    `governor.forecasting` does.
    """

    at_s: float
    model: str
    ticket_s: float = NEVER


@dataclass(frozen=True)
class Run:
    """One run: when it arrives, the (model, seconds) of its seats, and what was foretold of each seat."""

    arrives_s: float
    seats: tuple[tuple[str, float], ...]
    foretold: tuple[Foretold, ...]


@dataclass(frozen=True)
class Seat:
    """One use of a model at the one desk. `waiting`: the models in line behind it when it sits down, head first."""

    model: str
    begins_s: float
    ends_s: float
    waiting: tuple[str, ...]


@dataclass(frozen=True)
class Day:
    """The seats in the order of arrival, and everything that was foretold, by time."""

    seats: tuple[Seat, ...]
    foretold: tuple[Foretold, ...]

    @property
    def models(self) -> list[str]:
        """The sequence of uses."""
        return [seat.model for seat in self.seats]


Schedule = Callable[[list[Run], random.Random], list[Run]]


def draw(fleet: Sequence[Agent], seed: int, name: str, schedule: Schedule) -> Day:
    """One day. The same seed gives the same runs under every schedule that leaves them alone."""
    runs = _runs(random.Random(seed), fleet)
    return _served(schedule(runs, random.Random(f"{name} {seed}")), random.Random(seed))


def _runs(rng: random.Random, fleet: Sequence[Agent]) -> list[Run]:
    """The runs of a day, and the schedule's word on the day after it (the forecast does not end at midnight)."""
    found = []
    for agent in fleet:
        for minute in agent.minutes:
            at_s, delay_seconds = minute * MINUTE, rng.uniform(*DELAY_SECONDS)
            seats = tuple((stage.role, stage.seconds * rng.uniform(*SPREAD)) for stage in agent.stages)
            certain = agent.chance == 1.0
            foretold = tuple(Foretold(at_s, model) for model, _ in seats) if certain else ()
            if certain or rng.random() < agent.chance:
                found.append(Run(at_s + delay_seconds, seats, foretold))
            found.append(Run(NEVER, (), tuple(replace(word, at_s=word.at_s + DAY_SECONDS) for word in foretold)))
    return found


def _served(runs: Sequence[Run], rng: random.Random) -> Day:
    """One desk, first come, first served; the next seat of a run is asked for once the one before it is over.

    Loads are not in these times, so that every policy meets the same uses in the same order.
    """
    number = count()
    arrivals = [(run.arrives_s, next(number), 0, run) for run in runs if run.arrives_s < NEVER]
    heapq.heapify(arrivals)
    sat: list[tuple[float, float, float, str]] = []
    foretold = [word for run in runs if run.arrives_s == NEVER for word in run.foretold]
    free_s = 0.0
    while arrivals:
        arrived_s, _, place, run = heapq.heappop(arrivals)
        model, seconds = run.seats[place]
        begins_s = max(free_s, arrived_s)
        free_s = begins_s + seconds
        sat.append((arrived_s, begins_s, free_s, model))
        foretold += _struck(run, place, arrived_s)
        if place + 1 < len(run.seats):
            heapq.heappush(arrivals, (free_s + rng.uniform(*BETWEEN_STAGES_SECONDS), next(number), place + 1, run))
    return Day(_seats(sat), tuple(sorted(foretold, key=lambda word: word.at_s)))


def _struck(run: Run, place: int, arrived_s: float) -> list[Foretold]:
    """The words that end with this seat; with the first one also those that no seat of the run will end."""
    model, before = run.seats[place][0], {name for name, _ in run.seats[:place]}
    ended = [replace(word, ticket_s=arrived_s) for word in run.foretold if word.model == model and model not in before]
    used = {name for name, _ in run.seats}
    return ended + [word for word in run.foretold if place == 0 and word.model not in used]


def _seats(sat: Sequence[tuple[float, float, float, str]]) -> tuple[Seat, ...]:
    found = []
    for place, (_, begins_s, ends_s, model) in enumerate(sat):
        behind = (other[3] for other in sat[place + 1 :] if other[0] <= begins_s)
        found.append(Seat(model, begins_s, ends_s, tuple(behind)))
    return tuple(found)
