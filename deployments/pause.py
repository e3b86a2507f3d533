"""`hotdesk pause` and `hotdesk resume`: a person wants the card for a while, and gives it back.

Says what it did, one sentence each. Needs the state folder only, no server. What a pause is and does is
`governor.pauses`; how models leave is `governor.clearing`.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployments.environment import apply_client_environment
from governor import pauses
from governor.clearing import clear_lines
from governor.errors import BadInput, HotdeskError
from governor.policy.lines import parse
from governor.policy.pausing import GOVERNOR, PERSON, clock, in_words
from governor.presence import judge
from governor.profile import current_profile
from governor.rows import AnyRow, is_dead, read_slots
from governor.settings import prepare_home
from governor.state.models import NO_BUDGET_SECONDS
from governor.state.sessions import reading, store

ALL = "all"
WANTED = "it is wanted for something else"
DURATION = re.compile(r"(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s)?")
UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
AT_DESK = ("held", "revoked")

EndHolders = Callable[[str, str], list[str]]


@dataclass(frozen=True)
class Wishes:
    """What was asked for. `how_long` such as 2h, None without an end; `line` None: the lines of the GPU."""

    how_long: str | None = None
    line: str | None = None
    why: str | None = None
    evict: bool = False
    now: bool = False


def run_pause(wishes: Wishes, *, end_holders: EndHolders | None = None) -> Iterator[str]:
    """Pause, then say who still sits, what left and how to resume; each sentence when it is so.

    Raises:
        BadInput: no such line or no duration; nothing was paused.
    """
    where = prepare_home()
    with suppress(HotdeskError):  # only for a lease that is given back; without a server it ends by itself
        apply_client_environment(where)
    now, lines = datetime.now(UTC), lines_meant(wishes.line)
    lasts = None if wishes.how_long is None else duration(wishes.how_long)
    until = None if lasts is None else now + lasts
    reason = " ".join((wishes.why or "").split()).rstrip(".") or WANTED
    pauses.pause(lines, by=PERSON, reason=reason, until=until, evict=wishes.evict, now=now)
    yield f"{_lines(lines)} paused{_until(until, lasts, now)}; who would wait in vain skips and says why."
    if wishes.now:
        for line in lines:
            yield from ((end_holders or _end_holders)(line, reason))
    for line in lines:
        yield from _still_sit(line)
    if wishes.evict:
        with reading() as session:
            mine = [p for p in pauses.in_force(session, now) if p.by == PERSON and p.line in lines]
        yield from clear_lines(mine, now=now)
    yield "`hotdesk resume` opens the line before that." if until else "`hotdesk resume` opens the line again."


def run_resume(line: str | None) -> Iterator[str]:
    """Open every paused line, or one; whoever paused it.

    Raises:
        BadInput: no such line.
    """
    prepare_home()
    now = datetime.now(UTC)
    with reading() as session:
        paused = pauses.in_force(session, now)
    ended = [pause for pause in paused if line in (None, ALL, pause.line)]
    if not ended:
        yield "Nothing is paused." if line in (None, ALL) else f"The {lines_meant(line)[0]} line is not paused."
        return
    for name in pauses.resume(sorted({pause.line for pause in ended}), by=PERSON, now=now):
        yield f"The {name} line is open again; the first in it were called."
    for pause in ended:
        if pause.by == GOVERNOR:
            words = in_words(pause, now)
            yield f"The governor had closed it too: {words}. It may pause again while the pressure lasts."


def lines_meant(named: str | None) -> list[str]:
    """The lines of this machine that are meant: those of the GPU when none is named, `all` for every one.

    Raises:
        BadInput: this machine has no such line.
    """
    known = list(current_profile().slots)
    if named is None:
        return [name for name in known if parse(name).kind == "gpu"] or known
    if named == ALL:
        return known
    if named not in known:
        raise BadInput(
            f"This machine has no line {named!r}.",
            means="Nothing was changed.",
            remedy=f"Use one of: {', '.join(known)}, or {ALL}.",
        )
    return [named]


def duration(text: str) -> timedelta:
    """How long `90s`, `30m`, `2h`, `1h30m` or `1d` is.

    Raises:
        BadInput: it is no duration, or none at all.
    """
    found = DURATION.fullmatch(text.strip().lower())
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if length <= timedelta(0):
        raise BadInput(
            f"{text!r} is no time to pause for.",
            means="Nothing was paused.",
            remedy="Give a number with its unit, such as 90s, 30m, 2h, 1h30m or 1d; leave --for out for no end.",
        )
    return length


def _end_holders(line: str, reason: str) -> list[str]:
    from governor.actions.terminate import end_holders  # imports Prefect

    return [f"{said[:1].upper()}{said[1:]}." for said in end_holders(line, reason)]


def _still_sit(line: str) -> Iterator[str]:
    with store().look() as db:
        slots = [row for row in read_slots(db, line) if row.state in AT_DESK and row.ticket_id is not None]
    yield from (_sits(row) for row in slots if not is_dead(row, judge))


def _sits(slot: AnyRow) -> str:
    who = f"{slot.agent} (pid {slot.pid}) sits at the {slot.line} desk"
    if slot.state == "revoked":
        return f"{who}; its seat is void, it stands up at its next step."
    since = "" if slot.granted_at is None else f" for {(datetime.now(UTC) - slot.granted_at).total_seconds():.0f} s now"
    left = slot.budget_seconds - (time.monotonic() - slot.since_s)
    most = "" if slot.budget_seconds >= NO_BUDGET_SECONDS else f", {max(0.0, left):.0f} s more at most"
    return f"{who}{since}; it keeps its seat until it stands up{most}."


def _lines(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"The {names[0]} line is"
    return f"The lines {', '.join(names[:-1])} and {names[-1]} are"


def _until(until: datetime | None, lasts: timedelta | None, now: datetime) -> str:
    if until is None or lasts is None:
        return ", with no end set: nobody sits down there"
    return f" until {clock(until, now)}, for {_long(lasts)}: nobody sits down there"


def _long(length: timedelta) -> str:
    """A duration in words: `1 h 30 min`."""
    left, parts = int(length.total_seconds()), []
    for unit, seconds in UNITS:
        count, left = divmod(left, seconds)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts)
