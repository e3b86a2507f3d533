"""Agents at one model of a trace: they sit down one after the other, and their calls take as long as it is slow.

At full speed a seat lasts as long as the trace says. A model with layers on the CPU makes it longer: the calls of a
seat follow each other, each is given up past the deadline of `governor.asking` and made once more, and who comes
meanwhile waits in line. What is recorded of answers is all that tells the speed, by the rules of
`governor.sensors.resident_speed`; more than enough answers at full speed are taken to lie before the trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest
from governor.sensors.resident_speed import FRESH, GIVEN_UP_IN_A_ROW, RECENT
from governor.serving import CHARACTERS_PER_TOKEN, call_seconds

STEP_SECONDS = 0.1
# One call: a page to read, and as many tokens to write as a request asks for by default. `asking`: reading is about
# ten times as fast as writing.
PROMPT_TOKENS, READS_TIMES_AS_FAST = 300, 10.0
CALL = ModelRequest(kind=Kind.WRITE, prompt="x" * int(PROMPT_TOKENS * CHARACTERS_PER_TOKEN))
DEADLINE_SECONDS = call_seconds(CALL)
# `blocks.parameters`: who waits longer than that leaves the line.
PATIENCE_SECONDS = 1800.0


class Recorded(NamedTuple):
    """A call as it was recorded: when, and how fast in percent of full speed; None when it was given up."""

    at_s: float
    speed_percent: float | None


def sound_call_seconds(tokens_per_s: float) -> float:
    """What one call takes at full speed."""
    return (PROMPT_TOKENS / READS_TIMES_AS_FAST + CALL.max_tokens) / tokens_per_s


def speed_percent(recorded: Sequence[Recorded], loaded_s: float, at_s: float) -> float | None:
    """What the sensor says of a model that was loaded at `loaded_s`; None when it knows too little."""
    fresh_s = at_s - FRESH.total_seconds()
    last = [call for call in recorded[-GIVEN_UP_IN_A_ROW:] if call.at_s >= loaded_s]
    if last and last[-1].at_s >= fresh_s and last[-1].speed_percent is None:
        return 0.0 if len(last) == GIVEN_UP_IN_A_ROW and last[0].speed_percent is None else None
    written = [(call.at_s, call.speed_percent) for call in recorded if call.speed_percent is not None][-RECENT:]
    if len(written) < RECENT or written[0][0] < max(loaded_s, fresh_s):
        return None
    return median(speed for _, speed in written)


@dataclass
class Seat:
    """One agent at a model. `until_s`: when it stands up, if its calls are done by then."""

    until_s: float
    calls: int
    leaves_line_s: float
    broken: bool = False


@dataclass
class Seats:
    """Everybody who wants one model.

    Attributes:
        used: (from, until) of each seat at full speed. call_seconds: of one call at full speed.
        line: who waits. seated: who sits. recorded: its calls, the newest last.
    """

    used: Sequence[tuple[float, float]]
    call_seconds: float
    line: list[Seat] = field(default_factory=list)
    seated: Seat | None = None
    recorded: list[Recorded] = field(default_factory=list)
    _come: int = 0
    _share: float = 0.0
    _spent_s: float = 0.0
    _again: bool = False

    def wanted(self, at_s: float) -> bool:
        """Whether somebody sits at it, or would."""
        while self._come < len(self.used) and self.used[self._come][0] <= at_s:
            begins_s, until_s = self.used[self._come]
            calls = int((until_s - begins_s) // self.call_seconds)
            self.line.append(Seat(until_s, calls, max(until_s, begins_s + PATIENCE_SECONDS)))
            self._come += 1
        self.line = [seat for seat in self.line if at_s < (seat.until_s if seat.broken else seat.leaves_line_s)]
        return self.seated is not None or bool(self.line)

    @property
    def begins(self) -> bool:
        """Whether somebody is about to sit down."""
        return self.seated is None and bool(self.line)

    def lost(self) -> None:
        """The model is gone: who sat queues again, and has as many calls left as fit into its time."""
        if self.seated is not None:
            self.seated.broken = True
            self.line.insert(0, self.seated)
        self.seated = None
        self._begin_call()

    def work(self, at_s: float, speed: float, *, may_begin: bool) -> bool:
        """One step at a model that is there, at this percentage of its speed; whether it is in use.

        Between two seats is one step, longer than a hand-over takes (0.02 to 0.04 s, measured).
        """
        seat = self.seated
        if seat is not None and not seat.calls and at_s >= seat.until_s:
            self.seated = None
            return False
        if seat is None and (not may_begin or not self.line):
            return False
        if seat is None:
            seat = self.seated = self.line.pop(0)
            fits = max(0, int((seat.until_s - at_s) // self.call_seconds))
            seat.calls = min(seat.calls, fits) if seat.broken else seat.calls
        if seat.calls:
            self._call(seat, at_s, speed)
        return True

    def _call(self, seat: Seat, at_s: float, speed: float) -> None:
        self._spent_s += STEP_SECONDS
        self._share += STEP_SECONDS / self.call_seconds * speed / 100
        if self._share >= 1:
            self.recorded.append(Recorded(at_s, 100 * self.call_seconds / self._spent_s))
            seat.calls -= 1
            self._begin_call()
        elif self._spent_s >= DEADLINE_SECONDS and not self._again:
            self._begin_call(again=True)
        elif self._spent_s >= DEADLINE_SECONDS:
            self.recorded.append(Recorded(at_s, None))
            seat.calls -= 1
            self._begin_call()

    def _begin_call(self, *, again: bool = False) -> None:
        self._share, self._spent_s, self._again = 0.0, 0.0, again
