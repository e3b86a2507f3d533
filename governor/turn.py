"""One ticket's way through the line: take it, wait, sit down, stand up.

What to do next is `policy.turns.next_step`; each step's transaction is in `governor.line` and
`governor.succession`; the world is behind `governor.effects`, Prefect behind `governor.limit`.
"""

import logging
import os
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from governor import succession
from governor.effects import Effects, Wait
from governor.errors import ServerSilent, StateUnavailable
from governor.events import log_event
from governor.failpoints import failpoint
from governor.giving_back import TRY_AGAIN_SECONDS, insist, settle
from governor.leasing import UNANSWERED_SECONDS, confirm, decline, obtain
from governor.limit import Limit, Renewed
from governor.line import Line
from governor.policy.turns import Act, Step
from governor.processes import Identity
from governor.renewal import Renewal
from governor.succession import Passed
from governor.ticket import UNSEEN, Errand, Grant, Place, View, left_line, why_leave

# After a refusal the slot is held by a flow outside the line, or by a lease about to run out.
REFUSED_WAIT_SECONDS = 0.5
# Between two looks at a process that was told to end: its end is heard at once, unless it cannot be watched.
ENDING_SECONDS = 1.0
# Each of them is a signal or a cancel scope; a person does not press Ctrl-C ten times in a millisecond.
MOST_INTERRUPTIONS = 10
# Silences of the server further apart than this are two, not one.
ONE_SILENCE_SECONDS = 30.0


class Turn:
    """One ticket. `take` it, `wait` until it sits, `start_renewing` before the work, `rise` whatever happened.

    Args:
        line: its rows. limit: Prefect's side of it. effects: the world. errand: what for.
        slots: the size that the limit must have. budget_seconds: how long the seat may last.
    """

    def __init__(
        self, line: Line, limit: Limit, effects: Effects, errand: Errand, *, slots: int, budget_seconds: float
    ) -> None:
        self.line, self.limit, self.effects, self.errand = line, limit, effects, errand
        self._slots, self._budget_seconds = slots, budget_seconds
        self.place: Place | None = None
        self.grant: Grant | None = None
        self.renewal: Renewal | None = None
        self._started_s = effects.clock_s()
        self._not_before_s = 0.0
        self._silent_since_s: float | None = None
        self._silent_last_s = 0.0
        self._pid = os.getpid()
        self.risen = False

    def take(self) -> int:
        """Join the line, after burying the dead in it; the ticket's number.

        Raises:
            StateUnavailable: the ticket could not be written; nothing was taken.
        """
        self.effects.shielded(self._take)
        return self.ticket_id

    def _take(self) -> None:
        succession.bury_waiters(self.line, now=self.effects.now())
        self._started_s = self.effects.clock_s()
        self.place = self.line.take(self.errand, now=self.effects.now(), clock_s=self._started_s)

    @property
    def ticket_id(self) -> int:
        """Number of the ticket that was taken."""
        return self._mine().id

    @property
    def waited_seconds(self) -> float:
        """Since the ticket was taken; time that the machine sleeps is not counted."""
        return self.effects.clock_s() - self._started_s

    def wait(self) -> Grant:
        """Wait for the turn and for Prefect's word, at most the errand's patience.

        Raises:
            LeftLine: patience ran out, or would before a pause ends. NotReady: limit or server not as they must be.
        """
        with self.effects.bell(self._mine().id) as bell:
            while self.grant is None:
                view = self._look()
                if why := why_leave(view, self.errand.patience_seconds - self.waited_seconds):
                    self._leave(why)
                    raise left_line(self.errand, self._mine(), self.waited_seconds, why, view)
                self._make(view, bell)
        with suppress(StateUnavailable):  # a courtesy: the next head watches this process from now on
            self.effects.ring(self.line.first(2))
        return self.grant

    def start_renewing(self) -> Renewal:
        """Keep the lease alive from now on."""
        self.effects.shielded(self._start_renewing)
        assert self.renewal is not None
        return self.renewal

    def _start_renewing(self) -> None:
        assert self.grant is not None, "sit down first"
        self.renewal = Renewal(self.line, self.limit, self.effects, self._mine().uuid, self.grant)

    @property
    def is_mine(self) -> bool:
        """Whether this process took the ticket, and not one that it was forked from."""
        return os.getpid() == self._pid

    def is_current(self) -> bool:
        """Whether the seat is still this ticket's."""
        lost = self.renewal is not None and self.renewal.lost
        return self.grant is not None and not lost and self.line.is_current(self.grant)

    def rise(self) -> None:
        """Stand up, or leave the line: whatever was reached is undone or handed on, once.

        However often it is interrupted; `risen` says that it is done. In a fork it is the parent's to do.
        """
        interruption: BaseException | None = None
        for _ in range(MOST_INTERRUPTIONS):
            if self.risen or not self.is_mine:
                break
            try:
                self.effects.shielded(self._rise)
            except Exception:
                raise
            except BaseException as error:  # before it began, or while it was done
                interruption = interruption or error
        if interruption is not None:
            raise interruption

    def _look(self) -> View:
        try:
            return self.line.look(self._mine().id, **self._times())
        except StateUnavailable as error:
            log_event("look_failed", level=logging.WARNING, tier=self.line.name, why=error.happened)
            return UNSEEN

    def _make(self, view: View, bell: Wait) -> None:
        """Make the step, then wait for the next occasion."""
        try:
            pause = self._act(view.step)
        except StateUnavailable as error:
            log_event("step_failed", level=logging.WARNING, tier=self.line.name, act=view.step.act, why=error.happened)
            pause = TRY_AGAIN_SECONDS
        if view.quiet:
            self.limit.prepare()  # not while the desk changes hands: it would take the heir's processor
        if pause > 0 and self.grant is None:
            left = max(0.0, self.errand.patience_seconds - self.waited_seconds)
            bell.wait(view.watch, min(pause, left))

    def _act(self, step: Step) -> float:
        """Carry a step out; seconds to wait before the next look."""
        line, index = self.line, step.index
        match step.act:
            case Act.WAIT:
                return step.seconds
            case Act.ACCEPT:
                self.effects.shielded(lambda: self._accept(index))
            case Act.ASK:
                return self._ask(index)
            case Act.STIR:
                self.effects.shielded(lambda: succession.stir(line, self._mine().id))
            case Act.PASS_ON:
                self.effects.shielded(lambda: self._settle(succession.pass_on(line, index, **self._times())))
            case Act.REAP:
                self.effects.shielded(lambda: self._settle(succession.reap(line, index, **self._times())))
            case Act.ROUSE:
                self.effects.shielded(lambda: self._rouse(index))
            case Act.REVOKE:
                self.effects.shielded(lambda: self._revoke(index))
            case Act.KILL:
                self._end(succession.overdue(line, index, clock_s=self.effects.clock_s()), hard=True)
                return ENDING_SECONDS
        return 0.0

    def _rouse(self, index: int) -> None:
        self.effects.ring(succession.rouse(self.line, self._mine().id, index, **self._times()))

    def _revoke(self, index: int) -> None:
        self._end(succession.revoke(self.line, index, clock_s=self.effects.clock_s()), hard=False)

    def _end(self, process: Identity | None, *, hard: bool) -> None:
        if process is not None:
            log_event("seat_overdue", level=logging.WARNING, tier=self.line.name, pid=process.pid, hard=hard)
            self.effects.signal(process, hard=hard)

    def _ask(self, index: int) -> float:
        """Ask for the free slot unless it is too early; seconds until the next try.

        Raises:
            ServerSilent: for more than a minute.
        """
        early = self._not_before_s - self.effects.clock_s()
        if early > 0:
            return early
        try:
            self.effects.shielded(lambda: self._claim_and_ask(index))
            self._silent_since_s = None
        except ServerSilent:
            now_s = self.effects.clock_s()
            if self._silent_since_s is None or now_s - self._silent_last_s > ONE_SILENCE_SECONDS:
                self._silent_since_s = now_s
            self._silent_last_s = now_s
            if now_s - self._silent_since_s > UNANSWERED_SECONDS:
                raise
        self._not_before_s = self.effects.clock_s() + REFUSED_WAIT_SECONDS
        return REFUSED_WAIT_SECONDS

    def _claim_and_ask(self, index: int) -> None:
        if self.line.begin_asking(self._mine().id, index, **self._times()):
            self._ask_claimed(index)

    def _ask_claimed(self, index: int) -> None:
        """The row says `asking`: ask once, and sit down or give the row back."""
        mine, lease_id, asked_at = self._mine(), None, self.effects.now()
        try:
            self.limit.check(self._slots)
            failpoint("asking.sending")
            lease_id = obtain(self.line, self.limit, mine.uuid, self.effects.now())
            failpoint("asking.answered")
            if lease_id is not None:
                seat = {"lease_id": lease_id, "budget_seconds": self._budget_seconds}
                self.grant = self.line.grant(mine.id, index, **seat, **self._times())
        finally:
            if self.grant is None and lease_id is not None:
                self._settle(insist(self.effects, partial(self._decline, index, lease_id, asked_at)))
            elif self.grant is None:
                insist(self.effects, lambda: self.line.withdraw(mine.id, index, clock_s=self.effects.clock_s()))

    def _decline(self, index: int, lease_id: str, asked_at: datetime) -> Passed:
        clock_s = self.effects.clock_s()
        return decline(self.line, self._mine().id, index, lease_id=lease_id, asked_at=asked_at, clock_s=clock_s)

    def _accept(self, index: int) -> None:
        """Take the offer; one renewal is answered before anything is done under it."""
        mine = self._mine()
        grant = succession.accept(self.line, mine.id, index, budget_seconds=self._budget_seconds, **self._times())
        if grant is None:
            return
        try:
            failpoint("accept.confirming")
            if confirm(self.limit, self.effects, grant.lease_id) is Renewed.ALIVE:
                self.grant = grant  # the renewal beside the seat writes it down
            elif self.line.ask_again(mine.id, grant, clock_s=self.effects.clock_s()):
                self._ask_claimed(index)
            else:
                self._hand_over(grant)
        except BaseException:
            self._hand_over(grant)  # a seat that could not be confirmed goes on like any other
            raise

    def _rise(self) -> None:
        if self.renewal is not None:
            self.renewal.stop()
            failpoint("renewal.stopped")
        grant, self.grant = self.grant, None
        if grant is not None:
            self._hand_over(grant)
        elif self.place is not None:
            self._leave("left before its turn")
        self.risen = True

    def _hand_over(self, grant: Grant) -> None:
        mine = self._mine()
        passed = insist(self.effects, lambda: succession.hand_over(self.line, mine.id, grant, **self._times()))
        if passed is not None:
            self._settle(passed)

    def _leave(self, why: str) -> None:
        mine = self._mine()

        def leave() -> None:
            passed = insist(self.effects, lambda: succession.leave(self.line, mine.id, why, **self._times()))
            if passed is not None:
                self._settle(passed)
            # An answer that was lost may have been a lease; nobody else may take it for an orphan yet.
            if self._silent_since_s is not None and (found := self.limit.find(mine.uuid)) is not None:
                self.limit.release(found)

        self.effects.shielded(leave)

    def _settle(self, passed: Passed) -> None:
        settle(self.line, self.limit, self.effects, passed)

    def _times(self) -> dict[str, Any]:
        return {"now": self.effects.now(), "clock_s": self.effects.clock_s()}

    def _mine(self) -> Place:
        assert self.place is not None, "take a ticket first"
        return self.place
