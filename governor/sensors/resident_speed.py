"""How fast models on the card write now, in percent of what they wrote before: layers on the CPU show here first.

After a suspend an engine may answer on the CPU and say that it uses the card; nothing else tells (a CPU writes at 6%
of a card's speed, measured). Only reads what was recorded of answers, and of calls that were given up.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from governor.policy.facts import Reading
from governor.state.models import Decision
from governor.state.residents import Resident
from governor.state.sessions import reading

# The latest answers of this load, and how many before them they are held against. Medians: one answer that met a
# busy machine proves nothing, and a few slow ones in the history spoil none.
RECENT, EARLIER_AT_MOST, EARLIER_AT_LEAST = 3, 50, 8
# What a model did longer ago says nothing about now.
FRESH = timedelta(minutes=10)
# A shorter answer tells more about its first token than about the speed.
LEAST_TOKENS = 16
# The least that a call is waited for (`serving.CALL_OVERHEAD_SECONDS`); one of so long without a token was given up.
# Nobody gives up a model that writes 2 tokens a second: two such calls in a row are no speed at all.
GIVEN_UP_SECONDS, GIVEN_UP_IN_A_ROW = 20.0, 2
# Another driver, another card, another build of the engine: older answers tell of another machine.
HISTORY = timedelta(days=30)
# No index serves this question: past so many rows a model counts as never used.
LOOKED_THROUGH = 5_000


def speeds(rows: Sequence[Resident], now: datetime) -> list[Reading]:
    """One reading for each of these models; unknown until it wrote enough, and enough of late since it was loaded.

    0% when its last two calls were given up without a token. When only the last one was, its speed is unknown: that
    proves nothing yet, and neither do the answers before it any more.
    """
    return [_speed(row, now) for row in rows]


def _speed(row: Resident, now: datetime) -> Reading:
    since, lately = max((row.loaded_at or now - FRESH, "since it was loaded"), (now - FRESH, "in the last 10 minutes"))
    given_up = _given_up(row, now)
    if given_up == GIVEN_UP_IN_A_ROW:
        return _reading(row, 0.0)
    if given_up:
        return _reading(row, None, "its last call was given up without a token, and no answer came since")
    newest_first = _written(row, now)
    recent, earlier = newest_first[:RECENT], newest_first[RECENT:]
    if len(recent) < RECENT or any(at < since for at, _ in recent):
        return _reading(row, None, f"it wrote fewer than {RECENT} long answers {lately}")
    if len(earlier) < EARLIER_AT_LEAST:
        return _reading(row, None, f"it wrote fewer than {EARLIER_AT_LEAST} long answers before")
    return _reading(row, 100 * median(speed for _, speed in recent) / median(speed for _, speed in earlier))


def _given_up(row: Resident, now: datetime) -> int:
    """How many of the last two calls of this load, counted from the last one, were given up; 0 when that is old.

    A call that failed at once says nothing about speed. The one before the last may be older: it takes minutes to
    give up a long one, and nothing came in between.
    """
    silent = (Decision.tokens_out == 0) & (Decision.first_token_seconds == 0)
    told = or_(~silent, Decision.work_seconds >= GIVEN_UP_SECONDS)
    wanted = _of(row, select(Decision.at, silent), told).limit(GIVEN_UP_IN_A_ROW)
    with reading() as session:
        last = [(at, was) for at, was in session.execute(wanted) if row.loaded_at is None or at >= row.loaded_at]
    if not last or last[0][0] < now - FRESH or not last[0][1]:
        return 0
    return sum(was for _, was in last)


def _written(row: Resident, now: datetime) -> list[tuple[datetime, float]]:
    """When, and at how many tokens a second after the first one: its latest answers, the newest first.

    Right or wrong does not matter here. Those of a release that kept no time of the first token are left out.
    """
    columns = select(Decision.at, Decision.tokens_out, Decision.work_seconds - Decision.first_token_seconds)
    wanted = _of(
        row,
        columns,
        Decision.at > now - HISTORY,
        Decision.tokens_out >= LEAST_TOKENS,
        Decision.first_token_seconds > 0,
        Decision.work_seconds > Decision.first_token_seconds,
    ).limit(RECENT + EARLIER_AT_MOST)
    with reading() as session:
        return [(at, tokens / seconds) for at, tokens, seconds in session.execute(wanted)]


def _of(row: Resident, columns: Select[Any], *those: ColumnElement[bool]) -> Select[Any]:
    """Of this model's calls those, the newest first."""
    near = Decision.id > select(func.max(Decision.id) - LOOKED_THROUGH).scalar_subquery()
    its = (Decision.engine == row.engine, Decision.model == row.model)
    return columns.where(near, *its, *those).order_by(Decision.id.desc())


def _reading(row: Resident, value: float | None, why: str = "") -> Reading:
    return Reading(name="speed_percent", value=value, unit="%", why=why, about=row.model)
