"""Agents that make several calls, and give the desk up between two of them while others wait (invariant 43)."""

import random
from contextlib import suppress

from governor.errors import StateUnavailable
from governor.line import Line
from governor.policy.politeness import gives_up
from governor.turn import Turn

# Of the schedules; in the others every agent makes one call.
SHARE = 0.2
MOST_CALLS = 4


class Batches:
    """The dice of their own leave every other schedule of a seed as it was."""

    def __init__(self, line: Line, *, seed: int) -> None:
        self._line, self._dice = line, random.Random(f"batches of {seed}")
        self.most = MOST_CALLS if self._dice.random() < SHARE else 1
        self.given_up = 0

    def calls(self) -> int:
        """How many calls an agent makes."""
        return self._dice.randint(1, self.most)

    def call_seconds(self) -> float:
        """How long one after the first takes."""
        return self._dice.expovariate(1 / 0.4)

    def gives_up(self, turn: Turn) -> bool:
        """Whether the seat is left to others now. Every bound is over: whoever waits is let go first."""
        why = ""
        with suppress(StateUnavailable):
            waiting = self._line.dues(turn.effects.now())
            why = gives_up(1.0, 0.0, own_due_at=turn.errand.due_at, waiting=waiting)
        self.given_up += bool(why)
        return bool(why)
