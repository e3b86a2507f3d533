"""What watches the machine of a trace can do, and how it is asked: ours and the rivals on the same terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tests.benchmarks.simulated import World

Readings = Mapping[str, float | None]


class Do(StrEnum):
    """What a guard can do. `TRIM` and `RESTORE` change only what the next load gets."""

    TRIM = "trim"
    EVICT = "evict"
    TERMINATE = "terminate"
    PAUSE = "pause"
    RESUME = "resume"
    KILL = "kill_process"
    RESTORE = "restore"


@dataclass(frozen=True)
class Act:
    """`target`: a model to evict or terminate, a process to kill, a memory (`vram`, `ram`) to pause."""

    do: Do
    target: str = ""


class Guard(Protocol):
    """Somebody who watches. Called every step; it looks as often as its own rule says."""

    @property
    def name(self) -> str:
        """For print."""
        ...

    def step(self, at_s: float, readings: Readings, world: "World") -> list[Act]:
        """What it does now. `world` is only to be read: what no sensor tells, processes and who is in use."""
        ...
