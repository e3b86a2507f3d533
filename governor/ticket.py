"""What a ticket is taken for, what its owner keeps, and what it sees: the records of the line."""

from dataclasses import dataclass
from datetime import datetime

from governor.errors import LeftLine
from governor.events import log_event
from governor.policy.pausing import is_in_vain
from governor.policy.turns import Act, Step
from governor.processes import Identity


@dataclass(frozen=True)
class Errand:
    """What a ticket is taken for. `patience_seconds` counts from the moment it is taken.

    `work_seconds` is how long it expects to sit, for the order `deadline`.
    """

    line: str
    agent: str
    model: str
    patience_seconds: float
    due_at: datetime | None = None
    flow_run_id: str | None = None
    work_seconds: float = 0.0


@dataclass(frozen=True)
class Place:
    """A ticket as its owner keeps it."""

    id: int
    uuid: str


@dataclass(frozen=True)
class Grant:
    """A seat: everything needed to renew it and to give it back."""

    index: int
    fence: int
    lease_id: str


@dataclass(frozen=True)
class View:
    """The line as one ticket sees it, and what it should do now.

    `place` is 1 at the head and 0 when the ticket is not in line; `watch` are the processes whose end
    concerns it: the holders and the one before it. `quiet`: it is nearly its turn,
    and nothing is changing hands just now: time to get ready. `paused` says what closes the line ('' when it is
    open) and `opens_in_seconds` for how long at least, as `policy.pausing` has it.
    """

    place: int
    step: Step
    holder: str | None
    watch: tuple[Identity, ...]
    quiet: bool = False
    paused: str = ""
    opens_in_seconds: float = 0.0


# What a waiter goes by while the line cannot be read: it looks again in a moment.
UNSEEN = View(0, Step(Act.WAIT, seconds=0.5), None, ())


def why_leave(view: View, patience_left_seconds: float) -> str:
    """Why a waiter leaves the line now; '' when it stays. An offer in hand is accepted first."""
    if view.step.act is Act.GONE:
        return "its ticket is no longer in line"
    if view.step.act is Act.ACCEPT:
        return ""
    if patience_left_seconds <= 0:
        return "its patience ran out" + (f", and {view.paused}" if view.paused else "")
    return view.paused if is_in_vain(view.opens_in_seconds, patience_left_seconds) else ""


def left_line(errand: Errand, mine: Place, waited_seconds: float, why: str, view: View) -> LeftLine:
    """What a run says that left the line: how long it waited, at which place, why, and who held the desk."""
    log_event("left_line", ticket=mine.id, holder=errand.agent, tier=errand.line, seconds=waited_seconds, why=why)
    resume = "`hotdesk resume` opens the line again; " if view.paused else ""
    return LeftLine(
        f"{errand.agent} left the {errand.line} line after {waited_seconds:.0f} s at place {view.place}: {why};"
        f" the desk was held by {view.holder or 'nobody'}.",
        means="Nothing was lost; it runs again at its next time.",
        remedy=f"{resume}`hotdesk status` shows the line.",
        line=errand.line,
        ticket=mine.id,
        waited_seconds=waited_seconds,
        place=view.place,
        holder=view.holder,
        paused=view.paused,
    )
