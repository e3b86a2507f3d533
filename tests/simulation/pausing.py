"""Pauses in a schedule: a person or the governor closes the line and opens it again, and what must hold meanwhile.

The one who pauses is a process like any other, which may be killed, stopped or cancelled in the middle of it; half of
them begin at the very moment at which the desk changes hands. Dice of their own leave all other schedules as they are.
"""

import random
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from governor.errors import LeftLine, StateUnavailable
from governor.limit import Limit
from governor.line import Line
from governor.pauses import close_line, open_line
from governor.policy.pausing import GOVERNOR, PERSON, Pause
from tests.simulation.world import Violation, VirtualEffects, World

SHARE = 0.3
# Whenever one of these is reached, an offer stands, a question is under way or an answer has just come.
MOMENTS = ("hand_over.done", "accept.begin", "ask.done", "asking.answered", "grant.begin", "pass_on.done")
CHANGES = ("pause.done", "hand_over.done", "pass_on.done", "reap.done", "leave.done", "ask.done", "rouse.done")

OFFERS = "SELECT 1 FROM slots WHERE state = 'offered'"


@dataclass(frozen=True)
class Planned:
    """One pause. It begins at the `number`th of those moments, or, without one, after some seconds.

    `lasts_s` None: without an end. `resumed_after_s` None: nobody ends it before its time.
    """

    by: str
    number: int | None
    after_s: float
    lasts_s: float | None
    resumed_after_s: float | None


def planned(seed: int) -> tuple[Planned, ...]:
    """The pauses of one schedule, none in most."""
    dice = random.Random(f"pauses of {seed}")
    return tuple(_one(dice) for _ in range(dice.choice((1, 1, 2, 3)))) if dice.random() < SHARE else ()


def _one(dice: random.Random) -> Planned:
    by = dice.choice((PERSON, GOVERNOR, GOVERNOR))
    endless = (None, 600.0) if by == PERSON else (30.0,)
    lasts_s = dice.choice((*endless, dice.uniform(0.05, 1), dice.uniform(1, 15)))
    resumed = lasts_s is None or lasts_s > 20 or dice.random() < 0.5
    return Planned(
        by,
        dice.randint(1, 12) if dice.random() < 0.5 else None,
        dice.uniform(0, 5),
        lasts_s,
        dice.choice((dice.uniform(0.01, 1), dice.uniform(1, 8))) if resumed else None,
    )


class Pausing:
    """The pauses of one schedule.

    Args:
        driver: looks into the database between transactions; it sees all that is written.
        jumps: the clock of the wall jumps, and with it the ends of pauses.
    """

    def __init__(self, world: World, line: Line, limit: Limit, driver: Any, *, jumps: bool, seed: int) -> None:
        self.world, self.line, self.limit, self._driver, self._jumps = world, line, limit, driver, jumps
        self.plans = planned(seed)
        self._effects = VirtualEffects(world)
        self._moments = 0
        self._fences: dict[int, int] = {}
        self._opened_s = [0.0]

    def set_out(self) -> None:
        """Those that begin after some seconds; the others wait for their moment."""
        for plan in self.plans:
            if plan.number is None:
                self.world.later(plan.after_s, lambda plan=plan: self._begin(plan))

    def observe(self, name: str) -> None:
        """At every failpoint of anybody: begin what begins here, and check what was just written."""
        if not self.plans:
            return
        if name in MOMENTS:
            self._moments += 1
            for plan in self.plans:
                if plan.number == self._moments:
                    self._begin(plan)
        if name == "resume.done":
            self._opened_s.append(self.world.clock_s)
        if name in ("grant.done", "accept.done"):
            self._nobody_sits_down()
        if name in CHANGES and self._closed() and self._driver.execute(OFFERS).fetchall():
            raise Violation(f"an offer stands in a paused line after {name}")

    def opened_s(self) -> float:
        """When the line was last opened, by a word or by the end of a pause."""
        return max(at_s for at_s in self._opened_s if at_s <= self.world.clock_s)

    def was_in_vain(self, error: LeftLine, patience_seconds: float) -> bool:
        """Whether one that left at once, for a pause, would indeed have been out of patience before its end."""
        left, paused = patience_seconds - error.data["waited_seconds"], bool(error.data["paused"])
        long = any(p.by == PERSON and (p.lasts_s is None or p.lasts_s > left) for p in self.plans)
        return paused and (long or self._jumps)  # a clock that goes back an hour makes any pause an hour longer

    def _begin(self, plan: Planned) -> None:
        self.world.spawn("operator", lambda _: self._pause(plan))
        if plan.resumed_after_s is not None:
            self.world.later(plan.resumed_after_s, lambda: self._hand(lambda: self._resume(plan.by)))

    def _pause(self, plan: Planned) -> None:
        now = self.world.now()
        until = None if plan.lasts_s is None else now + timedelta(seconds=plan.lasts_s)
        if plan.lasts_s is not None:
            self._opened_s.append(self.world.clock_s + plan.lasts_s)
        asked = Pause(self.line.name, plan.by, now, until, "because")
        with suppress(StateUnavailable):
            close_line(self.line, self._effects, asked, lambda: nullcontext(self.limit))

    def _hand(self, act: Callable[[], None]) -> None:
        self.world.spawn("operator", lambda _: act()).immune = True

    def _resume(self, by: str) -> None:
        """Insists: a schedule in which the line stays closed for good shows nothing."""
        while True:
            try:
                open_line(self.line, self._effects, by=by, now=self.world.now())
                return
            except StateUnavailable:
                self.world.sleep(0.5)

    def _closed(self) -> bool:
        """Whether a pause is in force; an end that the clock of the wall jumped over and back proves nothing."""
        ends = [row[0] for row in self._driver.execute("SELECT until FROM pauses").fetchall()]
        now = self.world.now()
        return any(
            end is None or (not self._jumps and datetime.fromisoformat(end).replace(tzinfo=UTC) > now) for end in ends
        )

    def _nobody_sits_down(self) -> None:
        """A grant that was committed just now is one of an open line."""
        for number, fence, state in self._driver.execute('SELECT "index", fence, state FROM slots').fetchall():
            granted = state == "held" and fence > self._fences.get(number, 0)
            self._fences[number] = fence
            if granted and self._closed():
                raise Violation(f"somebody sat down at slot {number} in a paused line")
