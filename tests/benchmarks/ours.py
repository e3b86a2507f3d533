"""A waiter at our desk: the real line, limit and effects, as `governor.desk` uses them.

No model is loaded and no card is locked: the engine is not what is measured. Imports Prefect, so the
server's address must stand in the environment before.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from governor.desk import line_of
from governor.effects import RealEffects
from governor.lease import PrefectLimit
from governor.limit import Limit, Renewed
from governor.settings import home
from governor.ticket import Errand
from governor.turn import Turn
from tests.benchmarks.visits import Visit

LINE = "gpu"
SLOTS = 1
# Nobody in a benchmark runs out of either: a waiter that hangs is ended by the benchmark's own bound.
PATIENCE_SECONDS = 3600.0
BUDGET_SECONDS = 3600.0


class CountedLimit(PrefectLimit):
    """The real limit; it also notes at which place in line its ticket stood at each call before its seat.

    Opening the client counts as a call although it sends nothing. A renewal before the seat is sent only once
    the ticket is out of line, its offer accepted, and is noted at place 0 without a look: the look would
    be a part of the gap.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.turn: Turn | None = None
        self.calls_by_place: Counter[int] = Counter()
        self.first_call_cpu_s: float | None = None
        self.seated = False

    def prepare(self) -> None:
        """See Limit."""
        if self._client is None:
            self._note()
        super().prepare()

    def check(self, slots: int) -> None:
        """See Limit."""
        self._note()
        super().check(slots)

    def ask(self, ticket_uuid: str) -> str | None:
        """See Limit."""
        self._note()
        return super().ask(ticket_uuid)

    def renew(self, lease_id: str) -> Renewed:
        """See Limit."""
        self._count(0)
        return super().renew(lease_id)

    def release(self, lease_id: str) -> bool:
        """See Limit."""
        self._note()
        return super().release(lease_id)

    def _note(self) -> None:
        if self.turn is not None and not self.seated:
            turn = self.turn
            view = turn.line.look(turn.ticket_id, now=turn.effects.now(), clock_s=turn.effects.clock_s())
            self._count(view.place)

    def _count(self, place: int) -> None:
        if not self.seated:
            self.first_call_cpu_s = self.first_call_cpu_s or time.process_time()
            self.calls_by_place[place] += 1


def new_turn(limit: Limit, agent: str) -> Turn:
    """A turn at the line, as `governor.desk` makes it; no ticket is taken yet."""
    line = line_of(LINE)
    line.ensure_slots(SLOTS)
    errand = Errand(LINE, agent, "none", PATIENCE_SECONDS)
    return Turn(line, limit, RealEffects(home().bells), errand, slots=SLOTS, budget_seconds=BUDGET_SECONDS)


@contextmanager
def _turn(limit: Limit, agent: str) -> Iterator[Turn]:
    turn = new_turn(limit, agent)
    try:
        yield turn
    finally:
        turn.rise()


def visit(pipe: Connection, number: int, hold_seconds: float) -> None:
    """Wait in line, hold the desk, hand it on; then say the Visit.

    The arrival is the moment it calls for the desk, as a flow does: opening the state database and the
    ticket are a part of the wait.
    """
    arrival_s, arrival_cpu_s = time.monotonic(), time.process_time()
    with CountedLimit(LINE) as limit, _turn(limit, f"benchmark/{number}") as turn:
        limit.turn = turn
        turn.take()
        taken_cpu_s = time.process_time()
        turn.wait()
        seated_s, seated_cpu_s, limit.seated = time.monotonic(), time.process_time(), True
        turn.start_renewing()
        time.sleep(hold_seconds)
        left_s = time.monotonic()
    near_cpu_s = limit.first_call_cpu_s or seated_cpu_s
    stages = {
        "joining": taken_cpu_s - arrival_cpu_s,
        "in_line": near_cpu_s - taken_cpu_s,
        "getting_ready_and_sitting_down": seated_cpu_s - near_cpu_s,
    }
    pipe.send(Visit(arrival_s, seated_s, left_s, stages, dict(limit.calls_by_place)))


def sit_until_told(pipe: Connection, number: int, at_most_seconds: float) -> None:
    """Say ("joined", ticket) and ("seated", moment); stay seated until told anything, killed or orphaned."""
    with PrefectLimit(LINE) as limit, _turn(limit, f"benchmark/{number}") as turn:
        pipe.send(("joined", turn.take()))
        turn.wait()
        seated_s = time.monotonic()
        turn.start_renewing()
        pipe.send(("seated", seated_s))
        pipe.poll(at_most_seconds)
