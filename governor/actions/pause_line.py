"""Act of the rung `pause the line`: nobody sits down where memory is under pressure. Prefect's limit stays.

Who waits goes on waiting, within its patience; a run that leaves says why. The pause ends by itself a quarter of an
hour after the last look that renewed it, so that a governor that died, or has lost its sight, closes no line for good.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from governor import pauses
from governor.policy.facts import Rung
from governor.policy.ladder import Standing
from governor.policy.pausing import GOVERNOR
from governor.profile import current_profile
from governor.state.models import Pause
from governor.state.sessions import reading

# Five looks of the flow `govern`.
PAUSE_FOR, RENEW_EVERY = timedelta(minutes=15), timedelta(minutes=1)


def follow(standing: Standing, seen_bad: Collection[str], reason: str, *, now: datetime) -> list[str]:
    """Pause and open lines as the rung has it; what was done, in words. Done again it changes nothing.

    Args:
        standing: where the ladder stands.
        seen_bad: the memories in which somebody sees now what led up; only there a pause is said again.
        reason: in words, for whoever leaves because of it. now: aware UTC.
    """
    lines = lines_by_memory()
    closed = {line: name for name, of in lines.items() if standing.at_least(Rung.PAUSE_LINE, name) for line in of}
    opened = [line for of in lines.values() for line in of if line not in closed]
    said = [f"opened the line {line}" for line in pauses.resume(opened, by=GOVERNOR, now=now)]
    due = [line for line, name in closed.items() if name in seen_bad and _is_due(line, now)]
    pauses.pause(due, by=GOVERNOR, reason=reason, until=now + PAUSE_FOR, now=now)
    return said


def _is_due(line: str, now: datetime) -> bool:
    """Whether the pause has to be said (again): a look each tenth of a second need not write each time."""
    with reading() as session:
        mine = session.get(Pause, (line, GOVERNOR))
    return mine is None or mine.until is None or mine.until - now < PAUSE_FOR - RENEW_EVERY


def lines_by_memory() -> Mapping[str, tuple[str, ...]]:
    """The lines of this machine by the memory that their models live in."""
    found: dict[str, set[str]] = {}
    for spec in current_profile().tiers.values():
        found.setdefault(spec.memory, set()).add(spec.line)
    return {name: tuple(sorted(lines)) for name, lines in found.items()}
