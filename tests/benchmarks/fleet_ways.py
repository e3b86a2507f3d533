"""Ways to have the fleet's questions answered: one model whatever comes, or the router with what it has learned.

The router's way is `governor.asking.ask_all` on a table that it filled itself: some rounds over one part of the items,
then one over the rest, which is scored. An item is never scored by a table that has seen it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import delete, select

from governor import asking, learning
from governor.answers import judged
from governor.batch import Mandate
from governor.policy.facts import Kind, ModelSpec
from governor.policy.requests import ModelRequest, Quality
from governor.serving import call_seconds
from governor.state.models import Decision, Ticket
from governor.state.sessions import reading, transaction
from tests.benchmarks.fleet_desks import remember_seats
from tests.benchmarks.fleet_said import Said, drawn
from tests.benchmarks.fleet_samples import Question, entries

PATIENCE_SECONDS = 600.0
# Agents with a due time ask so long before it.
BEFORE_DUE = timedelta(hours=1)


@dataclass(frozen=True)
class Score:
    """One question, answered.

    Attributes:
        right: the model's answer is the truth, verified or not. verified: production says that it stands.
        fields: of a document, how many of its fields are right.
        seconds: of all calls to all models for it. tier: whose answer it is.
    """

    question: Question
    right: bool
    verified: bool
    seconds: float
    calls: int
    tier: str
    fields: int = 0

    @property
    def delivered(self) -> bool:
        """Whether what the agent writes down is right: the answer where it stands, else what its rules find."""
        return self.right if self.verified else self.question.is_right(self.question.by_rules)


@dataclass(frozen=True)
class Plan:
    """How the router is taught and scored.

    Attributes:
        votes: how many answers must agree where a label is chosen. quality: what the agents wish for.
    """

    rounds: int
    splits: int
    seed: int
    votes: int = 1
    quality: Quality | None = None
    folds: int = 4


def once(said: Said, tier: str, parameters: dict[str, Any], questions: Sequence[Question]) -> list[Score]:
    """The same model for everything, asked once."""
    said.new_pass()
    return [_once(said, tier, parameters, question) for question in questions]


def _once(said: Said, tier: str, parameters: dict[str, Any], question: Question) -> Score:
    request = question.request
    answer = drawn(said, request, parameters, {"deadline_seconds": call_seconds(request)})
    cut = answer is not None and answer.finish_reason == "length"
    _, data, problems = judged(request, answer.text, cut=cut) if answer else ("", None, ["no answer"])
    return _score(question, data, verified=not problems, seconds=answer.seconds if answer else 0.0, calls=1, tier=tier)


def routed(said: Said, tiers: dict[str, ModelSpec], questions: Sequence[Question], plan: Plan) -> list[Score]:
    """The router's way, every question scored once in each split."""
    scores = []
    for split in range(plan.splits):
        for known, unknown in folds(questions, plan.folds, plan.seed + split):
            random.seed(plan.seed + split)  # production draws whom it explores
            forget()
            for _ in range(plan.rounds):
                one_round(said, tiers, known, plan)
            scores += one_round(said, tiers, unknown, plan)
    return scores


def folds(questions: Sequence[Question], count: int, seed: int) -> Iterator[tuple[list[Question], list[Question]]]:
    """What is learned from and what is scored, `count` times; each agent's items are spread evenly."""
    shuffled = random.Random(seed).sample(list(questions), len(questions))
    dealt = sorted(shuffled, key=lambda question: question.agent)
    for fold in range(count):
        part = {id(question) for place, question in enumerate(dealt) if place % count == fold}
        yield [q for q in questions if id(q) not in part], [q for q in questions if id(q) in part]


def one_round(said: Said, tiers: dict[str, ModelSpec], questions: Sequence[Question], plan: Plan) -> list[Score]:
    """Every agent asks once about all of these of its items."""
    said.new_pass()
    by_agent = groupby(questions, key=lambda question: question.agent)
    return [score for agent, batch in by_agent for score in _one_batch(tiers, agent, list(batch), plan)]


def _one_batch(tiers: dict[str, ModelSpec], agent: str, batch: Sequence[Question], plan: Plan) -> Iterator[Score]:
    due_at = datetime.now(UTC) + BEFORE_DUE if "due" in entries()[agent].parameters["parameters"] else None
    asked = asking.ask_all(
        [_wished(question.request, plan) for question in batch],
        Mandate(agent, PATIENCE_SECONDS, due_at=due_at),
    )
    with reading() as session:
        rows = session.scalars(select(Decision).where(Decision.request_id.in_(asked.ids))).all()
    taken = {tier: sum(row.work_seconds for row in rows if row.tier == tier) for tier in {row.tier for row in rows}}
    remember_seats([(tiers[tier], seconds) for tier, seconds in taken.items()], agent)
    for question, answer, request_id in zip(batch, asked.answers, asked.ids, strict=True):
        calls = [row.work_seconds for row in rows if row.request_id == request_id]
        said: dict[str, Any] = {"seconds": sum(calls), "calls": len(calls), "tier": answer.tier}
        yield _score(question, answer.data, verified=answer.verified, **said)


def _wished(request: ModelRequest, plan: Plan) -> ModelRequest:
    votes = plan.votes if request.kind is Kind.CLASSIFY else 1
    return request.model_copy(update={"votes": votes, "quality": plan.quality})


def _score(question: Question, data: Any, *, verified: bool, **cost: Any) -> Score:
    fields = 0 if data is None or question.request.choices else question.right_fields(data)
    return Score(question, question.is_right(data), verified, fields=fields, **cost)


def forget() -> None:
    """As on the first day: nothing learned, no seat on record."""
    learning.reset()
    with transaction() as session:
        session.execute(delete(Ticket))
        session.execute(delete(Decision))
