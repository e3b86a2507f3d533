"""The one way to a model: ticket -> turn -> Prefect lease -> resident model -> seat -> next one.

with desk(spec, errand, budget_seconds=120) as seat:
    ...call the model at seat.loaded.address...
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from governor import line, residency
from governor.engines.protocol import Loaded
from governor.errors import LeftLine, NotReady, SeatLost
from governor.events import log_event
from governor.lease import PrefectLimit, Renewal, find_lost
from governor.policy.facts import ModelSpec
from governor.profile import current_profile
from governor.state.models import Ticket
from governor.state.sessions import Watch

# A look at the commit counter costs microseconds; a full look reads /proc of those ahead.
POLL_SECONDS = 0.025
LOOK_EVERY_SECONDS = 0.25
# After a refusal the slot is held by a flow outside the line, or by a lease about to run out.
REFUSED_WAIT_SECONDS = 0.5
# A busy server answers 503 for a moment and a restart takes 10 s; past a minute it is gone.
UNANSWERED_SECONDS = 60.0


@dataclass(frozen=True)
class Claim:
    """A granted slot: everything needed to give it back."""

    index: int
    fence: int
    lease_id: str


@dataclass(frozen=True)
class Seat:
    """A place at the desk with a resident model. Valid only while `check` does not raise."""

    ticket_id: int
    line: str
    index: int
    fence: int
    waited_seconds: float
    spec: ModelSpec
    loaded: Loaded
    renewal: Renewal

    def check(self) -> None:
        """Raise SeatLost unless this seat's fence is still current; call it before and after model calls."""
        if self.renewal.lost.is_set() or not line.is_current(self.line, self.index, self.fence):
            raise SeatLost(
                f"Seat {self.fence} at the {self.line} desk was given to somebody else.",
                means="What the model said under it is discarded.",
                remedy="The run is tried again at its next time; `hotdesk status` shows who holds the desk.",
                line=self.line,
                fence=self.fence,
            )


@contextmanager
def desk(spec: ModelSpec, errand: line.Errand, *, budget_seconds: float = 600.0) -> Iterator[Seat]:
    """Wait in line, sit down with `spec` resident, and hand the desk on at the end, whatever happens.

    Raises:
        LeftLine: patience ran out. NotReady: server or limit not as they must be.
        DoesNotFit, ModelFailed, BadInput: the model could not be made resident.
    """
    started = time.monotonic()
    slots = current_profile().slots[errand.line]
    line.ensure_slots(errand.line, slots)
    with PrefectLimit(errand.line) as limit:
        limit.check(slots)
        ticket = line.take(errand, now=_now())
        claim = renewal = None
        try:
            claim = _wait_for_turn(ticket, errand, limit, budget_seconds)
            renewal = Renewal(limit, claim.lease_id)
            waited = time.monotonic() - started
            _say("seated", ticket, errand, waited, fence=claim.fence)
            with residency.resident(spec, ticket.id) as loaded:
                yield Seat(ticket.id, errand.line, claim.index, claim.fence, waited, spec, loaded, renewal)
        finally:
            _rise(ticket, errand, claim, renewal, limit)
            _say("stood_up" if claim else "left", ticket, errand, time.monotonic() - started)


def _rise(
    ticket: Ticket, errand: line.Errand, claim: Claim | None, renewal: Renewal | None, limit: PrefectLimit
) -> None:
    """Undo whatever was reached; each step is tried also when the one before it was interrupted."""
    try:
        if renewal is not None:
            renewal.stop()
    finally:
        if claim is None:
            line.leave(ticket.id, "left before its turn", now=_now())
        elif line.begin_release(errand.line, claim.index, claim.fence) is not None:
            try:
                limit.release(claim.lease_id)
            finally:
                line.finish_release(errand.line, claim.index, claim.fence, now=_now())


def _say(event: str, ticket: Ticket, errand: line.Errand, seconds: float, **facts: int) -> None:
    log_event(event, ticket=ticket.id, holder=errand.agent, tier=errand.line, seconds=seconds, **facts)


def _now() -> datetime:
    return datetime.now(UTC)


def _wait_for_turn(ticket: Ticket, errand: line.Errand, limit: PrefectLimit, budget_seconds: float) -> Claim:
    """Wait until this ticket is the head and Prefect's limit agrees, at most its patience."""
    watch, asking = Watch(), _Asking(ticket, errand, limit, budget_seconds)
    start = next_look = time.monotonic()
    try:
        while True:
            now = time.monotonic()
            if now >= next_look or watch.changed():
                next_look = now + LOOK_EVERY_SECONDS
                view = line.look(ticket.id, errand.line)
                if view.place == 0:
                    raise _left(ticket, errand, view, now - start, "its ticket is no longer in line")
                if view.place == 1 and view.dead_slots:
                    clear_dead(errand.line, limit)
                elif view.place == 1 and view.free_slot is not None and (claim := asking.once(view.free_slot)):
                    return claim
                waited = time.monotonic() - start
                if waited >= errand.patience_seconds:
                    raise _left(ticket, errand, view, waited, "its patience ran out")
            time.sleep(POLL_SECONDS)
    finally:
        watch.close()


class _Asking:
    """The head's questions to Prefect: not too often, and through a server that is away for a moment.

    On 2 busy cores the server answered 503 ("database is locked") to 2 of 10 agents; SQLite's busy
    timeout does not help there, because a read transaction cannot be upgraded after another's write.
    """

    def __init__(self, ticket: Ticket, errand: line.Errand, limit: PrefectLimit, budget_seconds: float) -> None:
        self._ticket, self._errand, self._limit, self._budget_seconds = ticket, errand, limit, budget_seconds
        self._not_before = 0.0
        self._unanswered_since: float | None = None

    def once(self, index: int) -> Claim | None:
        """Ask for the free slot unless it is too early; None when it was refused or not answered."""
        now = time.monotonic()
        if now < self._not_before:
            return None
        try:
            claim = _ask(self._ticket, self._errand, self._limit, index, self._budget_seconds)
            self._unanswered_since = None
        except NotReady:
            self._unanswered_since = self._unanswered_since or now
            if now - self._unanswered_since > UNANSWERED_SECONDS:
                raise
            claim = None
        self._not_before = time.monotonic() + REFUSED_WAIT_SECONDS
        return claim


def _ask(ticket: Ticket, errand: line.Errand, limit: PrefectLimit, index: int, budget_seconds: float) -> Claim | None:
    """Claim the row, then ask Prefect once the gate is right.

    A refusal may be our own lost answer, so the lease files are looked at then too.
    """
    if not line.begin_asking(ticket.id, errand.line, index):
        return None
    lease_id, claim = None, None
    try:
        limit.check(current_profile().slots[errand.line])
        lease_id = limit.ask(ticket.uuid) or _found_again(ticket, limit)
        if lease_id is not None:
            fence = line.grant(
                ticket.id, errand.line, index, lease_id=lease_id, budget_seconds=budget_seconds, now=_now()
            )
            claim = Claim(index, fence, lease_id) if fence else None
        return claim
    finally:
        if claim is None:
            _take_back(ticket, errand, limit, index, lease_id)


def _found_again(ticket: Ticket, limit: PrefectLimit) -> str | None:
    lease_id = find_lost(ticket.uuid)
    return lease_id if lease_id is not None and limit.renew(lease_id) else None


def _take_back(ticket: Ticket, errand: line.Errand, limit: PrefectLimit, index: int, lease_id: str | None) -> None:
    """No seat came of it, or its grant was interrupted: give back the lease and the slot, keep the place."""
    try:
        lease_id = lease_id or find_lost(ticket.uuid)
        if lease_id is not None:
            limit.release(lease_id)
    finally:
        line.withdraw(ticket.id, errand.line, index)


def clear_dead(name: str, limit: PrefectLimit) -> int:
    """Reap a line and give the leases of the dead back; returns how many slots were freed."""
    freed = line.reap(name, now=_now())
    for slot in freed:
        try:
            lease_id = slot.lease_id or (slot.ticket_uuid and find_lost(slot.ticket_uuid))
            if lease_id:
                limit.release(lease_id)
        finally:
            line.finish_release(name, slot.index, slot.fence, now=_now())
        log_event("reaped", ticket=slot.ticket_id, tier=name, fence=slot.fence, level=logging.WARNING)
    return len(freed)


def _left(ticket: Ticket, errand: line.Errand, view: line.View, waited: float, why: str) -> LeftLine:
    line.leave(ticket.id, why, now=_now())
    log_event("left_line", ticket=ticket.id, holder=errand.agent, tier=errand.line, seconds=waited, why=why)
    return LeftLine(
        f"{errand.agent} left the {errand.line} line after {waited:.0f} s at place {view.place}: {why};"
        f" the desk was held by {view.holder or 'nobody'}.",
        means="Nothing was lost; it runs again at its next time.",
        remedy="`hotdesk status` shows the line.",
        line=errand.line,
        ticket=ticket.id,
        waited_seconds=waited,
        place=view.place,
        holder=view.holder,
    )


__all__ = ["NotReady", "Seat", "clear_dead", "desk"]
