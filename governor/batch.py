"""One agent's batch on its way along a route: which requests are still open, and who may try them next."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from governor.answers import Answer, Asked, no_answer
from governor.policy.politeness import BOUND_SECONDS
from governor.policy.requests import Candidate, ModelRequest, Route
from governor.routing import Asker

# A wrong answer is taken to two larger models at most: what three could not do is the agent's to tell.
MOST_CLIMBS = 2


@dataclass(frozen=True)
class Mandate:
    """Who asks for a batch, and on what terms.

    Attributes:
        agent: as its deployment is called. flow_run_id: Prefect's id of the run, for the records.
        patience_seconds: longest wait in line; None: as long as whoever carries the request out thinks right.
        due_at: when the answers are wanted; a request's own due time goes first.
        bound_seconds: longest at a desk at a time, while the next in its line is due earlier.
    """

    agent: str
    patience_seconds: float | None = None
    flow_run_id: str | None = None
    due_at: datetime | None = None
    bound_seconds: float = BOUND_SECONDS


@dataclass
class Batch:
    """The requests of one agent and what became of them so far.

    Attributes:
        ends_s: when the agent's patience ends, on the monotonic clock: one patience, however many candidates. It is for
            the time in line, so the time at a desk moves it on.
        attempts: calls that were made for each request. climbs: larger models that it was taken to.
        left_out: requests that nobody may try, and why. only: the one that may be tried just now; None: all others.
    """

    requests: Sequence[ModelRequest]
    asker: Asker
    mandate: Mandate
    ends_s: float
    route: Route = field(default_factory=lambda: Route(candidates=()))
    line_seconds: float = 0.0
    desk_seconds: float = 0.0
    answers: list[Answer | None] = field(init=False)
    ids: list[str] = field(init=False)
    attempts: list[int] = field(init=False)
    climbs: list[int] = field(init=False)
    left_out: dict[int, str] = field(default_factory=dict)
    only: int | None = None

    def __post_init__(self) -> None:
        count = len(self.requests)
        self.answers, self.attempts, self.climbs = [None] * count, [0] * count, [0] * count
        self.ids = [uuid4().hex for _ in self.requests]

    @property
    def patience_seconds(self) -> float:
        """What is left of it."""
        return max(0.0, self.ends_s - time.monotonic())

    def first_due_at(self, indices: Sequence[int]) -> datetime | None:
        """When the first of these requests is due, None where none is."""
        dues = [self.requests[index].due_at or self.mandate.due_at for index in indices]
        return min((due for due in dues if due is not None), default=None)

    @property
    def is_unanswered(self) -> bool:
        """Whether nobody has answered any of it, rightly or wrongly."""
        return all(answer is None or answer.failed for answer in self.answers)

    @property
    def last_problem(self) -> str:
        """What the last call that gave no answer said, '' when none was made."""
        said = [answer.problems[0] for answer in self.answers if answer is not None and answer.problems]
        return said[-1] if said else ""

    def open_to_any(self) -> list[int]:
        """The requests that were not left out."""
        return [index for index in range(len(self.requests)) if index not in self.left_out]

    def wanting(self, candidate: Candidate) -> list[int]:
        """The requests that this candidate should try: unanswered, or answered wrongly by a smaller model."""
        open_to_it = self.open_to_any() if self.only is None else (self.only,)
        return [index for index in open_to_it if self._wants(index, candidate)]

    def _wants(self, index: int, candidate: Candidate) -> bool:
        answer = self.answers[index]
        if answer is None or answer.failed:
            return True
        is_larger = candidate.parameters_billion > answer.parameters_billion
        return not answer.verified and is_larger and self.climbs[index] < MOST_CLIMBS

    def keep(self, index: int, answer: Answer) -> None:
        """The better of what is there and this: one that stands, else the larger model's, else the first."""
        before = self.answers[index]
        if before is not None and not before.failed and not answer.failed:
            is_climb = answer.parameters_billion > before.parameters_billion
            self.climbs[index] += is_climb
            if not answer.verified and not is_climb:
                return
        if before is None or before.failed or not answer.failed:
            self.answers[index] = answer

    def result(self, failure: str) -> Asked:
        """An answer for every request; of those that nobody came to, that they have none, and why."""
        best, nobody = self.route.candidates[0], failure or "nobody came to it"
        answers = [
            answer or no_answer(best, self.left_out.get(index, nobody)) for index, answer in enumerate(self.answers)
        ]
        return Asked(answers, self.route, self.line_seconds, self.desk_seconds, self.ids)
