"""The two memories that models live in, as measured now: the card's (`vram`) and the host's (`ram`).

Only measures. How much must stay free, who fits and who leaves is `policy.admission` and `policy.residency`.
"""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import psutil

from governor.errors import BadInput
from governor.sensors import host
from governor.sensors.gpu import Card, open_cards
from governor.settings import MIB


class Memory(Protocol):
    """Where models live. What cannot be read is None, never zero (invariant 24)."""

    # Key of learned footprints: the same model takes another amount on another card. `cards`: how many it is made of.
    place: str
    cards: int

    def free_mib(self) -> float | None:
        """What a newcomer could take now."""
        ...

    def total_mib(self) -> float | None:
        """All there is."""
        ...

    def held_mib(self, pids: Sequence[int]) -> float | None:
        """What these processes hold of it; 0.0 when they are gone."""
        ...


class Vram:
    """Memory of all cards together, by the driver: engines spread a model over them where one is too small for it.

    What one card does not say is unknown of all of them; one that cannot be opened, or is hidden, is none.
    """

    def __init__(self, cards: Sequence[Card] | None = None) -> None:
        self._cards = tuple(cards or open_cards())
        self.place = "+".join(card.uuid for card in self._cards if card.uuid) or "vram"
        self.cards = len(self._cards)

    def free_mib(self) -> float | None:
        """Free for anybody, as the driver says."""
        return _sum([memory and memory[0] for memory in map(Card.memory_mib, self._cards)])

    def total_mib(self) -> float | None:
        """Memory of the cards, what the driver reserves for itself included."""
        return _sum([memory and memory[1] for memory in map(Card.memory_mib, self._cards)])

    def held_mib(self, pids: Sequence[int]) -> float | None:
        """Charged by the driver to these processes, their driver contexts included."""
        return _sum([card.held_mib(pids) for card in self._cards]) if pids else None


class Ram:
    """Memory of the host, within what a container allows."""

    place, cards = "ram", 1

    def free_mib(self) -> float | None:
        """Available without swapping."""
        return next((r.value for r in host.read() if r.name == "host_available_mib"), None)

    def total_mib(self) -> float | None:
        """All that this process may use."""
        return host.total_mib()

    def held_mib(self, pids: Sequence[int]) -> float | None:
        """Resident pages, shared ones included: what has to be there for them, whoever else maps the same file."""
        if not pids:
            return None
        held = 0.0
        for pid in set(pids):
            try:
                held += psutil.Process(pid).memory_info().rss / MIB
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue  # it holds nothing any more
            except psutil.Error:
                return None
        return held


def _sum(parts: Sequence[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


# By name; a test puts its own in here.
MEMORIES: dict[str, Callable[[], Memory]] = {"vram": Vram, "ram": Ram}


def memory(name: str) -> Memory:
    """The memory of that name, one object per process: a driver's library does not outlive a fork.

    Raises:
        BadInput: there is none of that name.
    """
    if name not in MEMORIES:
        raise BadInput(f"There is no memory {name!r}.", remedy=f"Use one of: {', '.join(MEMORIES)}.")
    return _memory(MEMORIES[name], os.getpid())


@lru_cache(maxsize=8)
def _memory(kind: Callable[[], Memory], _pid: int) -> Memory:
    return kind()
