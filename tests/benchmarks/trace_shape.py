"""What happens by itself in a trace: our models and when agents use them, others' memory, the sensors' lies."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from governor.policy.facts import Rung
from tests.benchmarks.curves import Curve, still
from tests.benchmarks.simulated_host import HostShape


class End(StrEnum):
    """How a trace ends when nobody acts, or not enough."""

    CARD_FULL = "the driver is out of memory"
    HOST_FULL = "the kernel is out of memory"
    FROZEN = "the host is frozen"
    NO_DESKTOP = "the desktop is frozen"
    CRAWLS = "the agents crawl"


@dataclass(frozen=True)
class Model:
    """One of our models, and when agents work with it.

    `used`: (from, until) of each seat in seconds. `leaves_s`: when it is unloaded in the ordinary way. `slack_mib`,
    `spilled_mib` and `speed_percent` are of the process that runs at the start; one that is loaded anew is sound.
    `tokens_per_s`: what it writes when it is sound; when it is slower, its seats last longer than `used` says.
    """

    name: str
    mib: float
    used: tuple[tuple[float, float], ...] = ()
    memory: str = "vram"
    host_mib: float = 600.0
    load_seconds: float = 1.0
    idle_seconds: float = 600.0
    loaded: bool = True
    leaves_s: tuple[float, ...] = ()
    slack_mib: Curve = field(default_factory=still)
    spilled_mib: Curve = field(default_factory=still)
    speed_percent: Curve = field(default_factory=lambda: still(100.0))
    tokens_per_s: float = 30.0


@dataclass(frozen=True)
class Sign:
    """A line in the kernel's log: the desktop freezes `grace_s` later unless `relief_mib` became free on the card."""

    at_s: float
    text: str
    grace_s: float
    relief_mib: float
    counts_s: float = 300.0


@dataclass(frozen=True)
class Shape:
    """All of it. Noise is one step long: (seconds, reading, value or None for unknown).

    `unreadable`: (from, until) in which the driver says nothing. `asleep`: (when, for how long) the machine sleeps.
    """

    models: tuple[Model, ...]
    desktop_mib: Curve = field(default_factory=lambda: still(330.0))
    neighbour_mib: Curve = field(default_factory=still)
    host: HostShape = field(default_factory=HostShape)
    card_mib: float = 6144.0
    budget_mib: float = 12000.0
    sign: Sign | None = None
    night_from_s: float = math.inf
    asleep: tuple[float, float] | None = None
    unreadable: tuple[tuple[float, float], ...] = ()
    noise: tuple[tuple[float, str, float | None], ...] = ()


@dataclass(frozen=True)
class Trace:
    """A shape, and what is known of it beforehand.

    Attributes:
        text: its shape in words. seconds: how long it is followed.
        end: what happens when nobody acts, None when nothing does; end_s: when.
        begins_s: from when on an act is right, None where nothing happens. until_s: until when.
        cure: the fewest models of ours that have to end so that it does not.
        pressed: the memories that an act is right in.
        gentle_only: marks are passed though nothing will happen: to trim, or to evict who idles, is no mistake there.
        expected: where our ladder stands, at some times.
    """

    name: str
    text: str
    shape: Shape
    seconds: float
    begins_s: float | None = None
    until_s: float = 0.0
    end: End | None = None
    end_s: float = 0.0
    cure: tuple[str, ...] = ()
    pressed: tuple[str, ...] = ()
    gentle_only: bool = False
    expected: tuple[tuple[float, Rung], ...] = ()

    @property
    def calm(self) -> bool:
        """Whether nothing bad happens if nobody acts."""
        return self.end is None


def bursts(from_s: float, until_s: float, work_s: float, rest_s: float) -> tuple[tuple[float, float], ...]:
    """Work and rest by turns."""
    turns = int((until_s - from_s) // (work_s + rest_s))
    begins = [from_s + turn * (work_s + rest_s) for turn in range(turns)]
    return tuple((begin_s, begin_s + work_s) for begin_s in begins)
