"""What a ticket is taken for, what its owner keeps, and what it sees: the records of the line."""

from dataclasses import dataclass
from datetime import datetime

from governor.errors import LeftLine
from governor.events import log_event
from governor.policy.turns import Step
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
    and nothing is changing hands just now: time to get ready.
    """

    place: int
    step: Step
    holder: str | None
    watch: tuple[Identity, ...]
    quiet: bool = False


def left_line(errand: Errand, mine: Place, waited_seconds: float, why: str, view: View | None) -> LeftLine:
    """What a run says that left the line: how long it waited, at which place, and who held the desk."""
    place, holder = (view.place, view.holder) if view else (0, None)
    log_event("left_line", ticket=mine.id, holder=errand.agent, tier=errand.line, seconds=waited_seconds, why=why)
    return LeftLine(
        f"{errand.agent} left the {errand.line} line after {waited_seconds:.0f} s at place {place}: {why};"
        f" the desk was held by {holder or 'nobody'}.",
        means="Nothing was lost; it runs again at its next time.",
        remedy="`hotdesk status` shows the line.",
        line=errand.line,
        ticket=mine.id,
        waited_seconds=waited_seconds,
        place=place,
        holder=holder,
    )
