"""The one way to a model: ticket -> turn -> Prefect lease -> card -> resident model -> seat -> next one.

with desk(spec, errand, budget_seconds=120) as seat:
    ...call the model at seat.loaded.address...

A second `desk` inside the block, in the same run: the same model at the same line shares the seat;
`gpu` may ask for `cpu` beside it; anything else would wait for itself and is refused at once.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType

from governor import residency, succession
from governor.card import at_card
from governor.effects import RealEffects
from governor.engines.protocol import Loaded
from governor.errors import BadInput, Nested, SeatLost, StateUnavailable
from governor.events import log_event
from governor.giving_back import settle
from governor.lease import PrefectLimit
from governor.limit import Limit
from governor.line import Errand, Grant, Line
from governor.policy.facts import ModelSpec
from governor.policy.lines import may_nest
from governor.presence import announce, judge
from governor.profile import current_profile
from governor.sentinel import STOP_SECONDS, Sentinel, watch_as
from governor.settings import home
from governor.state.sessions import store
from governor.turn import MOST_INTERRUPTIONS, Turn

_seats: ContextVar[tuple["Seat", ...]] = ContextVar("seats", default=())


@dataclass(frozen=True)
class Seat:
    """A place at the desk with a resident model. Valid only while `check` does not raise.

    `spec` is what was asked for, `served` the same model as it is loaded: its context may be smaller.
    """

    turn: Turn
    grant: Grant
    waited_seconds: float
    spec: ModelSpec
    served: ModelSpec
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
            raise lost_seat(self.turn)


def desk(spec: ModelSpec, errand: Errand, *, budget_seconds: float = 600.0) -> "Desk":
    """Wait in line, sit down with `spec` resident, and hand the desk on at the end, whatever happens.

    Entering raises:
        LeftLine: patience ran out. NotReady: server or limit not as they must be.
        Nested: this run sits already, and would wait for itself.
        DoesNotFit, ModelFailed, BadInput: the model could not be made resident.
    """
    return Desk(spec, errand, budget_seconds)


class Desk:
    """The block of one seat. A class and not a generator: a signal that arrives between the generator and its
    `with` would leave it suspended, at the desk, until the process ends.
    """

    def __init__(self, spec: ModelSpec, errand: Errand, budget_seconds: float) -> None:
        self._spec, self._errand, self._budget_seconds = spec, errand, budget_seconds
        self._turn: Turn | None = None
        self._inside = ExitStack()
        self._token: Token[tuple[Seat, ...]] | None = None

    def __enter__(self) -> Seat:
        """Sit down."""
        shared = _shared_seat(self._spec, self._errand)
        if shared is not None:
            shared.check()
            return shared
        try:
            return self._sit_down()
        except BaseException:
            self._stand_up()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stand up."""
        if self._turn is not None:
            self._stand_up()

    @property
    def is_shared(self) -> bool:
        """Whether it is the seat of a block further out: leaving this one gives nothing up."""
        return self._turn is None

    def _sit_down(self) -> Seat:
        errand = self._errand
        slots = current_profile().slots.get(errand.line)
        if slots is None:
            raise BadInput(
                f"This machine's profile has no line {errand.line}.",
                remedy=f"Use one of: {', '.join(sorted(current_profile().slots))}.",
            )
        limit = self._inside.enter_context(PrefectLimit(errand.line))
        line = line_of(errand.line)
        line.ensure_slots(slots)
        effects = RealEffects(home().bells)
        turn = Turn(line, limit, effects, errand, slots=slots, budget_seconds=self._budget_seconds)
        self._turn = turn
        self._inside.callback(turn.rise)
        turn.take()
        grant = turn.wait()
        turn.start_renewing()
        waited = turn.waited_seconds
        _say("seated", turn, waited, fence=grant.fence)
        self._guard(turn)
        wait = _wait_seated(turn, self._budget_seconds)
        self._inside.enter_context(_card(turn, wait))
        here = self._inside.enter_context(
            residency.resident(self._spec, turn.ticket_id, wait=wait, check=seat_check(turn))
        )
        seat = Seat(turn, grant, waited, self._spec, here.spec, here.loaded)
        self._token = _seats.set((*_seats.get(), seat))
        return seat

    def _guard(self, turn: Turn) -> None:
        """A sentinel beside the seat until it is over."""
        beside = turn.effects.background(Sentinel(lambda: watch_as("sentinel")).run, "sentinel")
        self._inside.callback(beside.stop, STOP_SECONDS)

    def _stand_up(self) -> None:
        """Leave the model, the card and the desk, however often that is interrupted."""
        interruption: BaseException | None = None
        for _ in range(MOST_INTERRUPTIONS):
            try:
                self._inside.close()  # goes on where it was interrupted; the desk is handed on in it
                if self._turn is not None:
                    self._turn.rise()
                break
            except Exception:
                raise
            except BaseException as error:
                interruption = interruption or error
        if self._token is not None:
            _seats.reset(self._token)
        if self._turn is not None:
            _say("stood_up" if self._token else "left", self._turn, self._turn.waited_seconds)
        if interruption is not None:
            raise interruption


def is_void(turn: Turn) -> bool:
    """Whether the seat is known to be lost; what cannot be read now is asked again at the next occasion."""
    try:
        return not turn.is_current()
    except StateUnavailable:
        return False


def seat_check(turn: Turn) -> Callable[[], None]:
    """What raises SeatLost once the seat is known to be lost."""

    def check() -> None:
        if is_void(turn):
            raise lost_seat(turn)

    return check


def any_seat_void() -> bool:
    """Whether this run has lost the seat it sits at, or one that it sits beside: what is asked under it is in vain."""
    return any(is_void(seat.turn) for seat in _seats.get())


def lost_seat(turn: Turn) -> SeatLost:
    """The error of a seat whose fence is not current any more."""
    fence = turn.grant.fence if turn.grant else 0
    return SeatLost(
        f"Seat {fence} at the {turn.line.name} desk is not this agent's any more.",
        means="What the model said under it is discarded.",
        remedy="The agent queues again once; `hotdesk status` shows who holds the desk.",
        line=turn.line.name,
        fence=fence,
    )


def _wait_seated(turn: Turn, budget_seconds: float) -> Callable[[float], bool]:
    """Waiting at the desk, for the card or for models in use, is not the seat's own time; patience bounds it."""
    grant, counted_s, check = turn.grant, turn.effects.clock_s(), seat_check(turn)

    def wait(seconds: float) -> bool:
        nonlocal counted_s
        turn.effects.pause(seconds)
        check()
        if grant is not None and turn.effects.clock_s() - counted_s > budget_seconds / 4:
            counted_s = turn.effects.clock_s()
            turn.line.start_budget(grant, clock_s=counted_s)
        return turn.waited_seconds < turn.errand.patience_seconds

    return wait


@contextmanager
def _card(turn: Turn, wait: Callable[[float], bool]) -> Iterator[None]:
    """The card behind the line, for as long as the seat."""
    profile, grant = current_profile(), turn.grant
    uuid = profile.cards.get(turn.line.name)
    with at_card(uuid, profile.slots[turn.line.name], wait=wait):
        if uuid is not None and grant is not None:
            turn.line.start_budget(grant, clock_s=turn.effects.clock_s())
        yield


def _shared_seat(spec: ModelSpec, errand: Errand) -> Seat | None:
    """The seat that this run already has and may use; None when it should join the line.

    Raises:
        Nested: joining would wait for itself.
    """
    for seat in _seats.get():
        if not seat.turn.is_mine:
            continue  # a fork's: the seat is its parent's
        if seat.line == errand.line and _same(seat, spec):
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


def _same(seat: Seat, spec: ModelSpec) -> bool:
    """The same model, with context enough for this work too."""
    asked = seat.spec.model_copy(update={"least_context_tokens": spec.least_context_tokens})
    return asked == spec and seat.served.context_tokens >= (spec.least_context_tokens or spec.context_tokens)


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
