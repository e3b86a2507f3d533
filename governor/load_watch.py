"""Watch a memory while a model comes into it, and end the load before the machine is at risk.

Admission has promised that it fits; this limits the damage when somebody else takes the room meanwhile.
"""

import time
from collections.abc import Callable, Sequence

from governor.errors import DoesNotFit
from governor.memory import Memory
from governor.policy.facts import Footprint
from governor.policy.loading import STOP_BELOW_MIB, Filling, must_stop

# NVML's memory figure takes 6 us; a look each tenth of a second is what a card that fills in 0.35 s needs.
LOOK_SECONDS = 0.1
GONE_PAUSE_SECONDS = 0.01


class LoadWatch:
    """What an engine calls while it loads (`Watch`).

    Args:
        where: the memory that fills.
        expected: what the newcomer was admitted with.
        clock_s: monotonic seconds.
    """

    def __init__(self, where: Memory, expected: Footprint, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._where, self._expected, self._clock_s = where, expected, clock_s
        self._free_mib, self._ours_mib = where.free_mib(), 0.0
        self._free_first_mib, self._looked_s = self._free_mib, clock_s()
        self._pids: tuple[int, ...] = ()

    def __call__(self, pids: Sequence[int]) -> None:
        """Look, if the last look is a tenth of a second ago.

        Raises:
            DoesNotFit: the load must not go on.
        """
        self._pids = tuple(pids) or self._pids
        passed_s = self._clock_s() - self._looked_s
        free_mib = self._where.free_mib() if passed_s >= LOOK_SECONDS else None
        if free_mib is None or self._free_mib is None or self._free_first_mib is None:
            return
        held_mib = self._where.held_mib(pids) if pids else None
        ours_mib = max(0.0, self._free_first_mib - free_mib) if held_mib is None else held_mib
        ours_rate = (ours_mib - self._ours_mib) / passed_s
        all_rate = (self._free_mib - free_mib) / passed_s
        seen = Filling(
            free_mib=free_mib,
            ours_mib=ours_mib,
            expected_mib=self._expected.mib,
            need_mib=self._expected.mib + self._expected.spread_mib,
            ours_rate=ours_rate,
            others_rate=all_rate - ours_rate,
        )
        self._free_mib, self._ours_mib, self._looked_s = free_mib, ours_mib, self._looked_s + passed_s
        why = must_stop(seen, floor_mib=STOP_BELOW_MIB)
        if why is not None:
            raise DoesNotFit(
                f"The load was ended: {why}.",
                means="Somebody else took the memory meanwhile; nothing stayed loaded.",
                remedy="`hotdesk status` shows what is in memory; the request takes another route or the next turn.",
                refusals=[why],
            )

    def wait_until_gone(self, seconds: float) -> bool:
        """After a load that ended: whether its processes hold nothing any more, waited for so long at most.

        A process that was killed is dead before the driver has taken its memory apart (0.1 s, measured); the next
        admission must not find it half gone.
        """
        deadline_s = self._clock_s() + seconds
        while self._pids and self._where.held_mib(self._pids):
            if self._clock_s() >= deadline_s:
                return False
            time.sleep(GONE_PAUSE_SECONDS)
        return True
