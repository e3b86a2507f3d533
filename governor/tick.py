"""The governor's own looks, with every sensor, written down. The flow `govern` calls this every few minutes.

While something is bad, or not calm yet, it goes on looking for a while: a ladder that moved one rung in three minutes
would be late. What one look does is `governing`; the sentinels beside the seats are `sentinel`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import delete, select

from governor.events import log_event
from governor.governing import Watch
from governor.looking import Senses, Sensors
from governor.policy.facts import Rung
from governor.policy.pressure import Assessment
from governor.policy.rules import Rules
from governor.standing import keep_rules
from governor.state.models import GovernorTick, Setting
from governor.state.sessions import reading, recall, transaction
from governor.unloading import sweep

SEEN_KEY = "assessment"
# The flow comes every three minutes and is not to meet itself.
WATCH_SECONDS = 100.0
# Rates are told between two looks; costly figures (utilisation, energy, the engines' slots) need no more than this.
COSTLY_EVERY_SECONDS = 1.0
# Two weeks of looks: a megabyte.
KEEP_LOOKS = timedelta(days=14)


def tick(
    now: datetime, *, rules: Rules | None = None, senses: Senses | None = None, clock_s: float | None = None
) -> GovernorTick:
    """Look once with every sensor, move at most one rung, record it. A dry run moves nothing and says what it would."""
    with _watching(rules or Rules(), senses, now) as watch:
        row = watch.look(now=now, clock_s=time.monotonic() if clock_s is None else clock_s, costly=True)
        _record(row, watch.seen)
    log_event("governed", tier=row.rung, pressure=row.pressure, why=row.reason)
    return row


def govern_for(
    seconds: float,
    *,
    rules: Rules,
    senses: Senses | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    clock_s: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> list[GovernorTick]:
    """Look twice, and on until all is calm or `seconds` are over; the looks that were written down, the last one last.

    Written down are the first, the last, and those that moved or did something.
    """
    keep_rules(rules)
    with _watching(rules, senses, now()) as watch:
        return _watch_on(watch, seconds, now, clock_s, pause)


@contextmanager
def _watching(rules: Rules, senses: Senses | None, now: datetime) -> Iterator[Watch]:
    """A watch that goes on from the last look, once what others left half done is finished."""
    sweep(now=now, ask_engines=True, finish=not rules.dry_run)
    sensors = Sensors()
    try:
        yield Watch("govern", senses or sensors, rules=rules, seen=last_seen())
    finally:
        sensors.close()


def _watch_on(
    watch: Watch,
    seconds: float,
    now: Callable[[], datetime],
    clock_s: Callable[[], float],
    pause: Callable[[float], None],
) -> list[GovernorTick]:
    rules = watch.rules
    began_s = costly_s = clock_s()
    rows = [watch.look(now=now(), clock_s=began_s, costly=True)]
    _record(rows[0], watch.seen)
    pause(COSTLY_EVERY_SECONDS)
    while True:
        costly = clock_s() - costly_s >= COSTLY_EVERY_SECONDS
        costly_s = clock_s() if costly else costly_s
        row = watch.look(now=now(), clock_s=clock_s(), costly=costly)
        over = _is_over(watch, row) or clock_s() - began_s >= seconds
        if (row.actions and not rules.dry_run) or (over and costly):
            rows.append(row)
            _record(row, watch.seen)
        if over and costly:
            log_event("governed", tier=row.rung, pressure=row.pressure, why=row.reason, looks=len(rows))
            return rows
        pause(min(watch.look_again_seconds, COSTLY_EVERY_SECONDS))


def last_tick() -> GovernorTick | None:
    """The governor's last look, None before the first."""
    with reading() as session:
        return session.scalars(select(GovernorTick).order_by(GovernorTick.id.desc()).limit(1)).first()


def record_look(row: GovernorTick) -> None:
    """Write a look down."""
    with transaction() as session:
        session.add(row)


def _is_over(watch: Watch, row: GovernorTick) -> bool:
    return watch.settled and row.rung == Rung.NORMAL


def _record(row: GovernorTick, seen: Assessment) -> None:
    """The look and what it saw, all or nothing; the oldest go."""
    with transaction() as session:
        session.merge(Setting(key=SEEN_KEY, value=seen.model_dump_json()))
        session.add(row)
        session.execute(delete(GovernorTick).where(GovernorTick.at < row.at - KEEP_LOOKS))


def last_seen() -> Assessment:
    """What the last look left; nothing when it was written by a release that counted otherwise."""
    try:
        return Assessment.model_validate_json(recall(SEEN_KEY) or "{}")
    except ValidationError:
        return Assessment()
