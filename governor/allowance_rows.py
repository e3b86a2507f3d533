"""The rows of cloud calls, and what of every allowance they use up. Works inside the caller's transaction.

A call has a row of its own and counts in the row of its hour too: what began in full hours is added up from those, so
that a month of calls is looked up in no more time than a day of them. Who may write them is `governor.ledger`.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, String, Table, bindparam, delete, insert, text, update

from governor.policy.allowance import LENGTHS, Left, counted_from, left_of
from governor.policy.requests import Allowance, CloudModel
from governor.state.models import UtcTime
from governor.state.tiers import AllowanceHour, AllowanceUse

USE: Table = AllowanceUse.__table__  # type: ignore[assignment]  # declared as FromClause
HOUR: Table = AllowanceHour.__table__  # type: ignore[assignment]
# A clock that was set back leaves calls of the future. They count when they are no further away than the span is long,
# and than this: else a clock that was ahead for some hours would shut the allowance of a minute for as long.
SET_BACK = timedelta(days=1)
AN_HOUR = timedelta(hours=1)

# Each question has a place, a tier, the times after and before which its calls count, and the first hour that counts in
# full: the calls before that hour are counted one by one.
_USED = text(
    """
    WITH asked AS (
        SELECT json_extract(value, '$[0]') AS place, json_extract(value, '$[1]') AS tier,
            json_extract(value, '$[2]') AS after, json_extract(value, '$[3]') AS full,
            json_extract(value, '$[4]') AS ends
        FROM json_each(:asked)
    )
    SELECT place, sum(requests) AS requests, sum(tokens) AS tokens, min(oldest) AS oldest FROM (
        SELECT a.place, count(*) AS requests, sum(u.tokens) AS tokens, NULL AS oldest
        FROM asked a CROSS JOIN allowance_uses u
        WHERE u.tier = a.tier AND u.at > a.after AND u.at < a.full AND u.state <> 'returned'
        GROUP BY a.place
        UNION ALL
        SELECT a.place, sum(h.requests), sum(h.tokens), NULL
        FROM asked a CROSS JOIN allowance_hours h
        WHERE h.tier = a.tier AND h.hour >= a.full AND h.hour < a.ends
        GROUP BY a.place
        UNION ALL
        SELECT a.place, 0, 0, (
            SELECT u.at FROM allowance_uses u
            WHERE u.tier = a.tier AND u.at > a.after AND u.at < a.ends AND u.state <> 'returned'
            ORDER BY u.at LIMIT 1
        ) FROM asked a
    ) GROUP BY place
    """
).columns(place=Integer, requests=Integer, tokens=Integer, oldest=UtcTime)
# '0' is the character after '/'.
_SIBLINGS = text(
    "SELECT DISTINCT tier FROM allowance_hours WHERE tier >= :provider || '/' AND tier < :provider || '0'"
).columns(tier=String)
_SPENT = text(
    "SELECT total(usd) FROM allowance_uses WHERE usd > 0 AND at >= :since AND state <> 'returned'"
).bindparams(bindparam("since", type_=UtcTime))
# Ids grow with time, so the oldest are found without an index of times.
_OLDEST = text(
    "SELECT max(id) FROM (SELECT id, at FROM allowance_uses ORDER BY id LIMIT :most) WHERE at < :before"
).bindparams(bindparam("before", type_=UtcTime))
_INSERT = insert(USE)
# As a text: SQLAlchemy compiles its own ON CONFLICT of SQLite anew every time, 0.35 ms twice a call (measured).
_COUNT = text(
    "INSERT INTO allowance_hours (tier, hour, requests, tokens) VALUES (:tier, :hour, :requests, :tokens)"
    " ON CONFLICT (tier, hour) DO UPDATE SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens"
).bindparams(bindparam("hour", type_=UtcTime))
_END = update(USE).where(USE.c.id == bindparam("this_id"), USE.c.state == "reserved")


class Question(NamedTuple):
    """What begins after and before these times. pool: whose; a tier, or with a `/` at the end all of a provider."""

    pool: str
    after: datetime
    ends: datetime

    @property
    def full(self) -> datetime:
        """The first hour of which every call counts; of a short span each call is looked at."""
        return self.ends if self.ends - self.after <= 2 * AN_HOUR else _hour(self.after) + AN_HOUR


class Used(NamedTuple):
    """What counts in one span. `oldest`: when the first of it began."""

    requests: int = 0
    tokens: int = 0
    oldest: datetime | None = None


def lefts_in(db: Connection, models: Sequence[CloudModel], now: datetime) -> dict[str, tuple[Left, ...]]:
    """What is left of every allowance of every model, by tier."""
    questions = {model.name: [_question(model, allowance, now) for allowance in model.allowances] for model in models}
    used = _used(db, sorted({question for asked in questions.values() for question in asked}))
    return {
        model.name: tuple(
            _left(allowance, model.zone, used[question], now)
            for allowance, question in zip(model.allowances, questions[model.name], strict=True)
        )
        for model in models
    }


def add(db: Connection, values: dict[str, Any]) -> int:
    """Write a call down, in a row of its own and in that of its hour; its id."""
    done = db.execute(_INSERT, values)
    _count(db, values["tier"], values["at"], requests=1, tokens=values["tokens"])
    return int((done.inserted_primary_key or (0,))[0])


def end(db: Connection, use_id: int, values: dict[str, Any], *, requests: int, tokens: int) -> bool:
    """Change a call that is still reserved, and its hour by so many requests and tokens; whether it still was."""
    row = db.execute(USE.select().where(USE.c.id == use_id)).first()
    if row is None or db.execute(_END.values(**values), {"this_id": use_id}).rowcount == 0:
        return False
    _count(db, row.tier, row.at, requests=requests, tokens=tokens - row.tokens)
    return True


def spent_usd(db: Any, since: datetime) -> float:
    """What paid calls cost that began since then; of those on their way, what they may cost. `db`: it, or a session."""
    return float(db.execute(_SPENT, {"since": since}).scalar_one())


def oldest_id(db: Connection, before: datetime, most: int) -> int | None:
    """The newest of the `most` oldest calls that began before then, None when none did."""
    return db.execute(_OLDEST, {"before": before, "most": most}).scalar()


def forget(db: Connection, up_to_id: int, before: datetime) -> int:
    """Delete calls up to this id that began before then, and the hours before; how many calls."""
    done = db.execute(delete(USE).where(USE.c.id <= up_to_id, USE.c.at < before))
    db.execute(delete(HOUR).where(HOUR.c.hour < before - AN_HOUR))
    return done.rowcount


def _question(model: CloudModel, allowance: Allowance, now: datetime) -> Question:
    pool = f"{model.provider}/" if allowance.shared else model.name
    return Question(pool, counted_from(allowance, model.zone, now), now + min(SET_BACK, LENGTHS[allowance.span]))


def _left(allowance: Allowance, zone: str, used: Used, now: datetime) -> Left:
    amount = used.requests if allowance.unit == "requests" else used.tokens
    return left_of(allowance, zone, used=amount, oldest=used.oldest, now=now)


def _used(db: Connection, questions: Sequence[Question]) -> dict[Question, Used]:
    asked = [
        (place, tier, _stored(question.after), _stored(question.full), _stored(question.ends))
        for place, question in enumerate(questions)
        for tier in _tiers(db, question.pool)
    ]
    found = {}
    if asked:
        rows = db.execute(_USED, {"asked": json.dumps(asked)})
        found = {row.place: Used(int(row.requests or 0), int(row.tokens or 0), row.oldest) for row in rows}
    return {question: found.get(place, Used()) for place, question in enumerate(questions)}


def _tiers(db: Connection, pool: str) -> Iterable[str]:
    return db.execute(_SIBLINGS, {"provider": pool[:-1]}).scalars() if pool.endswith("/") else (pool,)


def _count(db: Connection, tier: str, at: datetime, *, requests: int, tokens: int) -> None:
    if requests or tokens:
        db.execute(_COUNT, {"tier": tier, "hour": _hour(at), "requests": requests, "tokens": tokens})


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _stored(at: datetime) -> str:
    """A time as SQLAlchemy writes it into SQLite, where times are compared as texts."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
