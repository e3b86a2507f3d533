"""Which cloud tier nobody calls for a while, shared by all processes: what one learned spares the others the call.

What a provider's refusal means is `policy.provider_refusals`; what is used of an allowance is `governor.ledger`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import insert as upsert

from governor import key_digests
from governor.accounts import CloudAccount
from governor.events import log_event
from governor.policy.facts import Fact
from governor.state.sessions import store
from governor.state.tiers import TierState

STATE: Table = TierState.__table__  # type: ignore[assignment]  # declared as FromClause
# The first pause after a failure of the provider's, doubled by each further one in a row, up to the last.
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 30.0, 600.0
# No allowance comes back later than the next month. An end a day beyond was written by a clock that was wrong.
LONGEST, WRONG = timedelta(days=32), timedelta(days=33)
BROKEN = "broken"

_SET = upsert(STATE)
_SET = _SET.on_conflict_do_update(
    index_elements=["tier"], set_={column.name: _SET.excluded[column.name] for column in STATE.c}
)


class Closed(Fact):
    """A tier that nobody calls before `until`.

    Attributes:
        closed_for: `rate`, `quota`, `key`; `gone`: the provider has no such model; `broken`: it failed.
        why: in words. key_digest: of the key that was refused; None: closed whatever the key.
    """

    until: datetime
    closed_for: str
    why: str
    key_digest: str | None = None


def closed(now: datetime, accounts: Iterable[CloudAccount] = ()) -> dict[str, Closed]:
    """The tiers that are closed now, by name.

    Args:
        accounts: whose tiers are not closed by the refusal of another key than theirs.

    Raises:
        StateUnavailable: the database cannot be read now.
    """
    with store().look() as db:
        found = closed_in(db, now)
        corrected = [a.model.name for a in accounts if _is_of_another_key(db, found.get(a.model.name), a.secrets)]
    return {tier: shut for tier, shut in found.items() if tier not in corrected}


def closed_in(db: Connection, now: datetime) -> dict[str, Closed]:
    """The same, inside the caller's transaction."""
    found = db.execute(STATE.select().where(STATE.c.closed_until > now, STATE.c.closed_until <= now + WRONG))
    return {row.tier: _closed(row) for row in found}


def close(
    tiers: str | Sequence[str],
    until: datetime,
    *,
    closed_for: str,
    why: str,
    now: datetime,
    secrets: Sequence[SecretStr] = (),
) -> None:
    """Nobody calls the tiers before then. One that is closed for longer already stays so, for its own reason.

    Args:
        tiers: one, or all that a refusal concerns. until: 32 days ahead at most; what is later is cut.
        closed_for: as in `Closed`. why: in words, without anything that the provider wrote.
        secrets: the key that was refused, of which a digest is kept: with another one the tiers are open.

    Raises:
        StateUnavailable: it could not be written.
    """
    named = [tiers] if isinstance(tiers, str) else tiers
    with store().change("tier_state") as db:
        digest = key_digests.digest(db, secrets, make_salt=True) if secrets else None
        wanted = Closed(until=min(until, now + LONGEST), closed_for=closed_for, why=why, key_digest=digest)
        done = [tier for tier in named if _close(db, tier, wanted, now)]
    for tier in done:
        log_event("tier_closed", tier=tier, seconds=(until - now).total_seconds(), closed_for=closed_for, why=why)


def failed(tier: str, why: str, now: datetime) -> None:
    """The provider gave no answer, or a broken one: a pause, longer with each failure in a row.

    A failure while it pauses for the last one belongs to a call that began before, and makes nothing longer.

    Raises:
        StateUnavailable: it could not be written.
    """
    with store().change("tier_state") as db:
        row = db.execute(STATE.select().where(STATE.c.tier == tier)).first()
        if row is not None and row.closed_for == BROKEN and _is_closed(row, now):
            return
        failures = (row.failures if row is not None else 0) + 1
        seconds = min(LAST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10))
        pause = Closed(until=now + timedelta(seconds=seconds), closed_for=BROKEN, why=why)
        if not _close(db, tier, pause, now, failures=failures):
            db.execute(STATE.update().where(STATE.c.tier == tier).values(failures=failures, updated_at=now))
    log_event("tier_failed", tier=tier, seconds=seconds, failures=failures, why=why)


def succeeded(tier: str, now: datetime) -> None:
    """It answered: no failure in a row is left, and a pause because of them ends. Writes only where there was one.

    Raises:
        StateUnavailable: it could not be written.
    """
    ailing = STATE.select().where(STATE.c.tier == tier, STATE.c.failures > 0)
    with store().look() as db:
        if db.execute(ailing).first() is None:
            return
    with store().change("tier_state") as db:
        row = db.execute(ailing).first()
        if row is not None:
            opened: dict[str, Any] = {"closed_until": None, "closed_for": "", "why": ""}
            ends = opened if row.closed_for == BROKEN else {}
            db.execute(STATE.update().where(STATE.c.tier == tier).values(failures=0, updated_at=now, **ends))


def open_to_another_key(account: CloudAccount, now: datetime) -> bool:
    """A closure because of a key that is not this account's any more ends; whether there was one.

    Raises:
        StateUnavailable: it could not be read, or not be written.
    """
    tier = account.model.name
    with store().look() as db:
        shut = closed_in(db, now).get(tier)
        if shut is None or not _is_of_another_key(db, shut, account.secrets):
            return False
    with store().change("tier_state") as db:
        that = (STATE.c.tier == tier, STATE.c.key_digest == shut.key_digest)
        return db.execute(STATE.delete().where(*that)).rowcount > 0


def reopen(tier: str) -> bool:
    """A person opens it, whatever closed it; whether anything had.

    Raises:
        StateUnavailable: it could not be written.
    """
    with store().change("tier_state") as db:
        done = db.execute(STATE.delete().where(STATE.c.tier == tier, STATE.c.closed_until.is_not(None)))
    return done.rowcount > 0


def _close(db: Connection, tier: str, wanted: Closed, now: datetime, failures: int | None = None) -> bool:
    """Unless it is closed for longer. `failures`: in a row from now on, None: as many as before."""
    row = db.execute(STATE.select().where(STATE.c.tier == tier)).first()
    if row is not None and _is_closed(row, now) and row.closed_until >= wanted.until:
        return False
    before = row.failures if row is not None else 0
    state = {"closed_until": wanted.until, "closed_for": wanted.closed_for, "why": wanted.why, "updated_at": now}
    state |= {"failures": before if failures is None else failures, "key_digest": wanted.key_digest}
    db.execute(_SET, {"tier": tier, **state})
    return True


def _closed(row: Any) -> Closed:
    return Closed(until=row.closed_until, closed_for=row.closed_for, why=row.why, key_digest=row.key_digest)


def _is_of_another_key(db: Connection, shut: Closed | None, secrets: Sequence[SecretStr]) -> bool:
    return bool(shut and shut.key_digest and shut.key_digest != key_digests.digest(db, secrets))


def _is_closed(row: Any, now: datetime) -> bool:
    return row.closed_until is not None and now < row.closed_until <= now + WRONG
