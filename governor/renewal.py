"""Keeps the lease of a seat alive beside the work, and says so when the seat is lost."""

import logging
from datetime import datetime

from governor.effects import Effects, Stop
from governor.errors import ServerSilent, StateUnavailable
from governor.events import log_event
from governor.limit import Limit, Renewed
from governor.line import Line
from governor.ticket import Grant

# Three renewals fit into a lease of 60 s, with one to spare.
RENEW_EVERY_SECONDS = 15.0
# A renewal in flight ends within the client's own bound (10 s); past twice that the thread is given up.
STOP_SECONDS = 20.0


class Renewal:
    """Renews until stopped. `lost` turns True when the server says that the lease is gone, or our row that the
    fence is old; a server that does not answer is no proof of either.

    After a suspend the lease has run out although nobody robbed the seat: then it asks anew, once. Granted,
    the seat goes on under its fence, since our rows kept everybody of the line out; refused, it is lost.
    """

    def __init__(self, line: Line, limit: Limit, effects: Effects, ticket_uuid: str, grant: Grant) -> None:
        self._line, self._limit, self._effects = line, limit, effects
        self._uuid, self._grant, self._lease_id = ticket_uuid, grant, grant.lease_id
        self._confirmed_at = effects.now()  # the seat was granted or confirmed just now
        self.lost = False
        self._background = effects.background(self._run, f"renew-{line.name}")

    def stop(self) -> None:
        """Stop and wait, so that no renewal is in flight when the lease changes hands."""
        self._background.stop(STOP_SECONDS)

    def _run(self, stop: Stop) -> None:
        good = self._note(self._confirmed_at)
        while good and not stop.wait(RENEW_EVERY_SECONDS):
            good = self._once(stop)
        if not good:
            self.lost = True
            log_event("seat_lost", tier=self._line.name, level=logging.WARNING, fence=self._grant.fence)

    def _once(self, stop: Stop) -> bool:
        try:
            if self._limit.renew(self._lease_id) is Renewed.GONE and not self._ask_anew(stop):
                return False
        except ServerSilent as error:
            log_event("renewal_unanswered", level=logging.WARNING, lease=self._lease_id, why=error.happened)
            return True
        return self._note(self._effects.now())

    def _note(self, at: datetime) -> bool:
        """Write down when the server last said that the lease lives; False when the fence is old."""
        try:
            return self._line.renewed(self._grant, self._lease_id, now=at)
        except StateUnavailable as error:  # the fence is checked again before and after every call
            log_event("renewal_unwritten", level=logging.WARNING, lease=self._lease_id, why=error.happened)
            return True

    def _ask_anew(self, stop: Stop) -> bool:
        if stop.wait(0.0) or not self._line.is_current(self._grant):
            return False
        try:
            lease_id = self._limit.ask(self._uuid)
        except ServerSilent:
            return False  # perhaps granted: then it is found under our uuid once this ticket is over
        if lease_id is None:
            return False
        if stop.wait(0.0):  # stood up meanwhile: nobody would ever give it back
            self._limit.release(lease_id)
            return False
        self._lease_id = lease_id
        log_event("lease_renewed_anew", tier=self._line.name, lease=lease_id)
        return True
