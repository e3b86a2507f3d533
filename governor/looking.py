"""The governor's senses together: every sensor opened once, read cheaply often and in full now and then.

What single sensors know stands in `governor.sensors`; a new one is one file there and one line here.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from governor.errors import HotdeskError
from governor.policy.facts import Reading
from governor.resident_rows import engines_in_memory
from governor.sensors import residents
from governor.sensors.gpu import Card
from governor.sensors.host import Host
from governor.sensors.kernel_log import KernelLog

# Which processes are ours is asked of the database, not of the card: no need to ask it ten times a second.
PIDS_FOR_SECONDS = 0.5
# Takes `now`, monotonic seconds, and whether the costly figures are wanted too; a test puts its own in place.
Senses = Callable[[datetime, float, bool], list[Reading]]


class Sensors:
    """`Senses` of this machine. One object for each thread that looks: rates are told between two of its looks."""

    def __init__(self, card: Card | None = None, host: Host | None = None, log: KernelLog | None = None) -> None:
        self._card, self._host, self._log = card or Card(), host or Host(), log or KernelLog()
        self._pids: tuple[tuple[int, ...], str] = ((), "nobody looked yet")
        self._pids_at_s = 0.0

    def __call__(self, now: datetime, clock_s: float, costly: bool) -> list[Reading]:
        """Every reading; without the costly ones, those that tell in time whether the machine is at risk."""
        self._pids, self._pids_at_s = _engine_pids(), clock_s
        pids, unsure = self._pids
        card = [_unsure(r, unsure) for r in self._card.readings(costly=costly, engine_pids=pids)]
        seen = [*card, *self._host.read(clock_s), self._log.read(now)]
        return [*seen, *residents.read(now)] if costly else seen

    def close(self) -> None:
        """Let go of the driver's library and the kernel's log."""
        self._card.close()
        self._log.close()

    def glance(self, clock_s: float) -> list[Reading]:
        """The card's memory alone: what can fill up between two looks. Nothing on a machine without a card."""
        if not self._card.uuid:
            return []
        if clock_s - self._pids_at_s > PIDS_FOR_SECONDS:
            self._pids, self._pids_at_s = _engine_pids(), clock_s
        pids, unsure = self._pids
        return [_unsure(r, unsure) for r in self._card.memory_readings(pids)]


def _engine_pids() -> tuple[tuple[int, ...], str]:
    """Processes of our models, and why others' share of the card cannot be told just now ('' when it can)."""
    try:
        rows = [row for row in engines_in_memory() if row.memory == "vram"]
    except (HotdeskError, SQLAlchemyError) as error:
        return (), f"the state database does not say which processes are ours ({type(error).__name__})"
    if any(row.state == "loading" for row in rows):
        return (), "a model is being loaded"
    if any(not row.pids for row in rows):
        return (), "an engine does not say which processes are its"
    return tuple(pid for row in rows for pid in row.pids), ""


def _unsure(reading: Reading, why: str) -> Reading:
    """What others hold is unknown while it is unsure what is ours."""
    if not why or reading.name != "vram_others_mib":
        return reading
    return reading.model_copy(update={"value": None, "why": why})
