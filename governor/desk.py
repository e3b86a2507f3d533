"""The one way to a model: ticket -> turn -> Prefect lease -> card -> resident model -> seat -> next one.

with desk(spec, errand, budget_seconds=120) as seat:
    ...call the model at seat.loaded.address...

A second `desk` inside the block, in the same run: the same model at the same line shares the seat;
`gpu` may ask for `cpu` beside it; anything else would wait for itself and is refused at once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from governor import residency, succession
from governor.card import at_card
from governor.effects import RealEffects
from governor.engines.protocol import Loaded
from governor.errors import Nested, SeatLost
from governor.events import log_event
from governor.giving_back import settle
from governor.lease import PrefectLimit
from governor.limit import Limit
from governor.line import Errand, Grant, Line
from governor.policy.facts import ModelSpec
from governor.policy.lines import may_nest
from governor.presence import announce, judge
from governor.profile import current_profile
from governor.settings import home
from governor.state.sessions import store
from governor.turn import Turn

_seats: ContextVar[tuple["Seat", ...]] = ContextVar("seats", default=())


@dataclass(frozen=True)
class Seat:
    """A place at the desk with a resident model. Valid only while `check` does not raise."""

    turn: Turn
    grant: Grant
    waited_seconds: float
    spec: ModelSpec
    loaded: Loaded

    @property
    def fence(self) -> int:
        """Grows with every seat at this slot."""
        return self.grant.fence

    @property
    def line(self) -> str:
        """Name of the line."""
        return self.turn.line.name

    def check(self) -> None:
        """Raise SeatLost unless this seat's fence is still current; call it before and after model calls."""
        if not self.turn.is_current():
            raise SeatLost(
                f"Seat {self.fence} at the {self.line} desk is not this agent's any more.",
                means="What the model said under it is discarded.",
                remedy="The agent queues again once; `hotdesk status` shows who holds the desk.",
                line=self.line,
                fence=self.fence,
            )


@contextmanager
def desk(spec: ModelSpec, errand: Errand, *, budget_seconds: float = 600.0) -> Iterator[Seat]:
    """Wait in line, sit down with `spec` resident, and hand the desk on at the end, whatever happens.

    Raises:
        LeftLine: patience ran out. NotReady: server or limit not as they must be.
        Nested: this run sits already, and would wait for itself.
        DoesNotFit, ModelFailed, BadInput: the model could not be made resident.
    """
    shared = _shared_seat(spec, errand)
    if shared is not None:
        shared.check()
        yield shared
        return
    with PrefectLimit(errand.line) as limit, _turn(errand, limit, budget_seconds) as turn:
        grant = turn.wait()
        turn.start_renewing()
        waited = turn.waited_seconds
        _say("seated", turn, waited, fence=grant.fence)
        with _card(turn), residency.resident(spec, turn.ticket_id) as loaded:
            seat = Seat(turn, grant, waited, spec, loaded)
            token = _seats.set((*_seats.get(), seat))
            try:
                yield seat
            finally:
                _seats.reset(token)


@contextmanager
def _turn(errand: Errand, limit: Limit, budget_seconds: float) -> Iterator[Turn]:
    """A ticket of this errand; whatever it reached is handed on at the end."""
    slots = current_profile().slots[errand.line]
    line = line_of(errand.line)
    line.ensure_slots(slots)
    turn = Turn(line, limit, RealEffects(home().bells), errand, slots=slots, budget_seconds=budget_seconds)
    try:
        turn.take()
        yield turn
    finally:
        seated = turn.grant is not None
        turn.rise()
        _say("stood_up" if seated else "left", turn, turn.waited_seconds)


@contextmanager
def _card(turn: Turn) -> Iterator[None]:
    """The card behind the line, for as long as the seat; waiting for it is not the seat's own time."""
    profile = current_profile()

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return turn.waited_seconds < turn.errand.patience_seconds

    with at_card(profile.cards.get(turn.line.name), profile.slots[turn.line.name], wait=wait):
        if turn.grant is not None and turn.line.name in profile.cards:
            turn.line.start_budget(turn.grant, clock_s=turn.effects.clock_s())
        yield


def _shared_seat(spec: ModelSpec, errand: Errand) -> Seat | None:
    """The seat that this run already has and may use; None when it should join the line.

    Raises:
        Nested: joining would wait for itself.
    """
    for seat in _seats.get():
        if seat.line == errand.line and seat.spec == spec:
            return seat
        if not may_nest(seat.line, errand.line):
            raise Nested(
                f"{errand.agent} sits at the {seat.line} desk with {seat.spec.model} and asked for {spec.model}"
                f" at {errand.line}: it would wait for itself.",
                remedy="Leave the first `with desk(...)` block before asking for another model.",
                line=errand.line,
                held=seat.line,
            )
    return None


def line_of(name: str) -> Line:
    """The line of that name in the state folder in use; this process is announced in it."""
    return Line(name, store(), judge, announce)


def clear_dead(name: str, limit: Limit) -> int:
    """Take the slots and places of dead processes, give back what nobody waits for; how many slots.

    Raises:
        StateUnavailable: the database cannot be used.
    """
    line, effects = line_of(name), RealEffects(home().bells)
    succession.bury_waiters(line, now=effects.now())
    freed = 0
    for index in range(line.slot_count()):
        for change in (succession.pass_on, succession.reap):
            passed = change(line, index, now=effects.now(), clock_s=effects.clock_s())
            settle(line, limit, effects, passed)
            freed += change is succession.reap and passed != succession.Passed()
    return freed


def _say(event: str, turn: Turn, seconds: float, **facts: int) -> None:
    ticket = turn.place.id if turn.place else None
    log_event(event, ticket=ticket, holder=turn.errand.agent, tier=turn.line.name, seconds=seconds, **facts)
