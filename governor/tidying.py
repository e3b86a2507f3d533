"""What the governor does for the lines every few minutes: the dead, the overstayed, what they left on disk, old calls.

Whoever waits does most of this at once (`policy.turns`); this is for a line in which nobody waits.
Prefect's side is set right by `governor.mirror`.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from governor import decided, ledger, presence, remembered, succession
from governor.bells import sweep_bells
from governor.desk import clear_dead, line_of
from governor.effects import RealEffects
from governor.errors import HotdeskError
from governor.events import log_event
from governor.lease import PrefectLimit
from governor.settings import home


def tidy_lines(lines: Iterable[str]) -> list[str]:
    """Free what the dead hold, end who overstayed, take down their bells; one plain sentence each.

    A line that cannot be seen to says so and stops no other.
    """
    done = []
    for name in sorted(lines):
        try:
            done += list(_tidy(name))
        except HotdeskError as error:
            log_event("not_tidied", tier=name, level=logging.WARNING, why=error.happened)
            done.append(f"could not see to the line {name}: {error.happened}")
    sweep_bells(home().bells)
    presence.sweep()
    for prune in (ledger.prune, decided.prune, remembered.prune):
        try:
            prune(datetime.now(UTC))
        except HotdeskError as error:
            log_event("not_pruned", level=logging.WARNING, why=error.happened)
    return done


def _tidy(name: str) -> Iterator[str]:
    line, effects = line_of(name), RealEffects(home().bells)
    with PrefectLimit(name) as limit:
        freed = clear_dead(name, limit)
    if freed:
        yield f"line {name}: {freed} of its slots were held by the dead; they are free again"
    for index in range(line.slot_count()):
        for end, hard in ((succession.overdue, True), (succession.revoke, False)):
            process = end(line, index, clock_s=effects.clock_s())
            if process is not None:
                effects.signal(process, hard=hard)
                yield f"line {name}: pid {process.pid} is past its budget; it was told to {'die' if hard else 'end'}"
