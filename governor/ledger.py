"""What cloud calls use up: written down before a call is made, set right or taken back after it.

Everything that can forbid a call is looked at in the transaction that writes it down, so of two processes that race
for the last one exactly one wins. The row of a process that died counts as it stands: rather too much than too little.
What is left, in words, is `policy.allowance`; the rows are `governor.allowance_rows`; why a tier is closed is
`governor.tier_states`.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from governor import allowance_rows as rows
from governor.errors import TierShut
from governor.events import log_event
from governor.policy.allowance import Left, Shut, clock, shut, span_start
from governor.policy.refusing import too_dear
from governor.policy.requests import CloudModel, Span
from governor.state.sessions import store
from governor.tier_states import closed_in

# The longest span is a month of 31 days.
KEEP = timedelta(days=40)
# Calls forgotten at once, in 20 ms (measured): nobody waits longer for the lock.
PRUNE_MOST = 5_000
# Who waited for the lock longer than this (at most 30 s) makes its call later than it says.
LATE_SECONDS = 1.0


@dataclass(frozen=True)
class Wish:
    """A call that somebody wants to make.

    Attributes:
        tokens: in and out together, the most that it may take.
        usd: the most that it may cost; None: nobody knows, which no ceiling covers. Of a free model it does not matter.
        due: whether somebody waits for it by a certain time. ceiling_usd: what the operator lets paid calls cost a day.
        agent: who asks.
    """

    tokens: int
    usd: float | None = None
    due: bool = False
    ceiling_usd: float = 0.0
    agent: str = ""


@dataclass(frozen=True)
class Reservation:
    """A call that may be made now, and that counts until it is settled or given back. `at`: since when it counts."""

    id: int
    tier: str
    tokens: int
    at: datetime


def lefts(models: Iterable[CloudModel], now: datetime) -> dict[str, tuple[Left, ...]]:
    """What is left of every allowance of every model, by tier, in one consistent look.

    Raises:
        StateUnavailable: the database cannot be read now.
    """
    with store().look() as db:
        return rows.lefts_in(db, tuple(models), now)


def reserve(model: CloudModel, wish: Wish, *, now: datetime) -> Reservation:
    """Write a call down before it is made; it counts from here on, whatever becomes of this process.

    Raises:
        TierShut: the tier is closed, an allowance does not hold the call, or it would cost more than the operator
            allows. Nothing was written.
        StateUnavailable: it could not be written; the call must not be made.
    """
    database, asked_s = store(), time.monotonic()
    with database.change("reserve") as db:
        waited_seconds = time.monotonic() - asked_s
        at = now + timedelta(seconds=waited_seconds if waited_seconds > LATE_SECONDS else 0.0)
        _admit(db, model, wish, at)
        tokens, usd = max(0, wish.tokens), 0.0 if model.free else wish.usd
        row = {"tier": model.name, "at": at, "state": "reserved", "tokens": tokens, "usd": usd}
        use_id = rows.add(db, {**row, "due": wish.due, "agent": wish.agent})
    return Reservation(use_id, model.name, tokens, at)


def settle(reservation: Reservation, *, tokens: int, usd: float, now: datetime) -> None:
    """The call was made: what it took, instead of what it was thought to take. Said twice, the first time counts.

    Args:
        tokens: in and out together; where the answer did not say, what was reserved. usd: what it cost.

    Raises:
        StateUnavailable: it could not be written; the call goes on counting as it was reserved.
    """
    took = max(0, tokens)
    with store().change("settle") as db:
        done = rows.end(db, reservation.id, {"state": "used", "tokens": took, "usd": usd}, requests=0, tokens=took)
    if done:
        seconds = max(0.0, (now - reservation.at).total_seconds())
        log_event("cloud_call", tier=reservation.tier, seconds=seconds, tokens=took, usd=usd)


def give_back(reservation: Reservation) -> None:
    """Nothing of the call left this machine: it counts for nothing. Never after a single byte was sent.

    Raises:
        StateUnavailable: it could not be written; the call goes on counting.
    """
    with store().change("give_back") as db:
        rows.end(db, reservation.id, {"state": "returned"}, requests=-1, tokens=0)


def spent_usd_today(session: Session | Connection, now: datetime) -> float:
    """What paid calls, of all tiers together, cost since midnight UTC; of those on their way, what they may cost."""
    return rows.spent_usd(session, span_start(Span.DAY, "UTC", now))


def prune(now: datetime) -> int:
    """Forget calls that count in no span any more; how many. When there are none, nothing is written.

    Raises:
        StateUnavailable: the database cannot be used now.
    """
    before = now - KEEP
    with store().look() as db:
        if rows.oldest_id(db, before, PRUNE_MOST) is None:
            return 0
    with store().change("prune_uses") as db:
        newest = rows.oldest_id(db, before, PRUNE_MOST)
        return 0 if newest is None else rows.forget(db, newest, before)


def _admit(db: Connection, model: CloudModel, wish: Wish, now: datetime) -> None:
    """Everything that can forbid the call; the price first."""
    spent_usd = 0.0 if model.free else spent_usd_today(db, now)
    dear = too_dear(model, wish.usd, spent_usd=spent_usd, ceiling_usd=wish.ceiling_usd)
    if dear is not None:
        raise _refused(model, dear, None)
    closed = closed_in(db, now).get(model.name)
    if closed is not None:
        raise _refused(model, f"cooling down until {clock(closed.until, now)}: {closed.why}", closed.until)
    spent: Shut | None = shut(rows.lefts_in(db, (model,), now)[model.name], tokens=wish.tokens, due=wish.due, now=now)
    if spent is not None:
        raise _refused(model, spent.why, spent.until)


def _refused(model: CloudModel, why: str, until: datetime | None) -> TierShut:
    return TierShut(
        f"The tier {model.name} is not called: {why}.",
        means="Nothing was sent.",
        remedy="Another model does the work where one can; `hotdesk tiers` shows what is left of each.",
        tier=model.name,
        until=until,
        why=why,
    )
