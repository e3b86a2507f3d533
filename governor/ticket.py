"""What a ticket is taken for, what its owner keeps, and what it sees: the records of the line."""

from dataclasses import dataclass
from datetime import datetime

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
    concerns it: the holders and the one before it. `quiet`: nothing is changing hands just now.
    """

    place: int
    step: Step
    holder: str | None
    watch: tuple[Identity, ...]
    quiet: bool = True
