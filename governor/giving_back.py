"""After a slot changed hands: ring who is next, give back what nobody waits for, reclaim what was left behind."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from governor import succession
from governor.effects import Effects
from governor.errors import StateUnavailable
from governor.events import log_event
from governor.failpoints import failpoint
from governor.limit import Limit
from governor.line import Line
from governor.succession import Passed, Release

# Somebody died while it released this lease. Its request may still be at the server, and two at once free
# two slots; an answer takes 9 ms (measured), so after this pause they come one after the other.
AGAIN_SECONDS = 0.5
# A lease that may have run out (60 s) is not released: the server takes it back within 15 s by itself, and
# a release at that very moment would free a second slot.
FRESH_SECONDS = 50.0
INSIST_SECONDS = 120.0
TRY_AGAIN_SECONDS = 0.5

T = TypeVar("T")


def settle(line: Line, limit: Limit, effects: Effects, passed: Passed) -> None:
    """Carry out what a change of hands left to do."""
    effects.ring(passed.ring)
    if passed.release is not None:
        give_back(line, limit, effects, passed.release)


def give_back(line: Line, limit: Limit, effects: Effects, release: Release) -> None:
    """Release the lease of a slot in `releasing` and free the slot; the head is rung."""
    try:
        lease_id = release.lease_id
        if lease_id is None:
            lease_id = next((lease for lease, uuid in limit.leases() if uuid == release.ticket_uuid), None)
        elif not is_fresh(release.renewed_at, effects.now()):
            log_event("lease_left", tier=line.name, level=logging.WARNING, lease=lease_id)
            lease_id = None
        if release.again:
            effects.pause(AGAIN_SECONDS)
        failpoint("release.sending")
        if lease_id is not None:
            limit.release(lease_id)
        failpoint("release.answered")
    finally:
        effects.ring(insist(effects, lambda: _finish(line, effects, release)))


def _finish(line: Line, effects: Effects, release: Release) -> list[int]:
    return line.finish_release(release.index, release.fence, now=effects.now(), clock_s=effects.clock_s())


def insist(effects: Effects, change: Callable[[], T]) -> T:
    """Make a change that others wait for, through a database that is locked or full for a while.

    Raises:
        StateUnavailable: it was for two minutes. The end of this process says the same to the others.
    """
    ends_s = effects.clock_s() + INSIST_SECONDS
    while True:
        try:
            return change()
        except StateUnavailable:
            if effects.clock_s() >= ends_s:
                raise
            effects.pause(TRY_AGAIN_SECONDS)


def is_fresh(renewed_at: datetime | None, now: datetime) -> bool:
    """Whether a lease renewed then surely lives now."""
    return renewed_at is not None and now - renewed_at < timedelta(seconds=FRESH_SECONDS)


def reclaim(line: Line, limit: Limit, now: datetime) -> int:
    """Release the leases that ended tickets of ours left behind; how many. Strangers' are never touched.

    A process that dies between an answered increment and its row leaves such a lease: in no slot's row,
    held by the uuid of a ticket that is over.
    """
    done = 0
    for orphan in succession.claim_orphans(line.store, limit.leases(), now=now):
        failpoint("reclaim.claimed")
        done += limit.release(orphan.lease_id)
        log_event("lease_reclaimed", level=logging.WARNING, ticket=orphan.ticket_id, tier=orphan.line)
    return done
