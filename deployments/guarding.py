"""A sentinel for as long as `hotdesk up` runs: idle models are in memory also while nobody sits at a desk."""

from collections.abc import Iterator
from contextlib import contextmanager

from governor.effects import RealEffects
from governor.sentinel import STOP_SECONDS, Sentinel, watch_as
from governor.settings import Home


@contextmanager
def guarding(where: Home) -> Iterator[None]:
    """Look after the machine inside the block."""
    beside = RealEffects(where.bells).background(Sentinel(lambda: watch_as("up")).run, "sentinel")
    try:
        yield
    finally:
        beside.stop(STOP_SECONDS)
