"""What a card used during a call: its own energy counter, read before and after (3 to 4 ms each, measured).

The counter moves every 0.1 s (measured on an H100; beside its power reading it was right within 0.4%). So one call is
known to 0.1 s of it, and over many calls the errors cancel out: what one misses, another has. It counts the whole
card: a game beside the call, and what an idle card takes, stand in it.

None is "not measured", never nothing used: no card, a model that is not on it, a counter that is hidden, went
backwards (the driver was loaded anew) or did not move (the call was over before). A model in the host's memory is not
measured either: the processor's counter (RAPL) is root's to read. A card with several seats is not measured: calls run
side by side, and what one of them used cannot be told; an equal part each would be a guess that looks like a
measurement.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from governor.policy.facts import ModelSpec
from governor.policy.lines import parse
from governor.profile import current_profile
from governor.sensors.gpu import Card


@dataclass
class Spent:
    """What one call used; `joules` is None until it ended, and where it is not measured."""

    joules: float | None = None


@contextmanager
def card_energy(spec: ModelSpec, *, seats: int | None = None, card: Card | None = None) -> Iterator[Spent]:
    """Measure what runs inside; a call that fails used energy, too.

    Args:
        spec: the model that is called, which says whether and on which card it is.
        seats: how many may sit at this card's desk at once; what the profile says when None.
        card: a card that is open, for tests; this process's own when None.
    """
    spent = Spent()
    if spec.memory != "vram" or _seats(spec, seats) != 1:
        yield spent
        return
    card = card or _card(parse(spec.line).index, os.getpid())
    before = card.energy_joules()
    try:
        yield spent
    finally:
        spent.joules = _between(before, card.energy_joules())


def _seats(spec: ModelSpec, seats: int | None) -> int:
    return current_profile().slots.get(spec.line, 1) if seats is None else seats


def _between(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or after <= before:
        return None
    return after - before


@lru_cache(maxsize=8)
def _card(index: int, _pid: int) -> Card:
    """Opened once for each card and process (a fork gets its own): to open the library takes longer than to read."""
    return Card(index)
