"""What models were right about, kept by agent, kind and model; and what was learned from the prompts they were given.

Only answers that a rule could judge are counted. What follows from the counts is `policy.gains`, how a prompt is read
`policy.learner`; no word of a prompt is kept, only weights of a fixed size.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from governor.policy import learner
from governor.policy.gains import NEUTRAL, Gains, Tally, counted
from governor.policy.requests import ModelRequest
from governor.policy.text_features import features
from governor.state.sessions import reading, transaction
from governor.state.tiers import Gain, Learned


def gains_for(request: ModelRequest, agent: str, models: Iterable[str]) -> Gains:
    """What is known of these models for this request of this agent, in one look."""
    wanted = tuple(dict.fromkeys(models))
    with reading() as session:
        gains = _tallies(session, request, agent, wanted)
        return gains.model_copy(update={"predicted": _predicted(session, request, gains, wanted)})


def record(session: Session, request: ModelRequest, agent: str, model: str, verified: bool, now: datetime) -> None:
    """Count one answer that was judged, and learn from its prompt, in the caller's transaction."""
    before = counted(_tallies(session, request, agent, (model,)), model, NEUTRAL)
    key = (request.kind.value, agent, model)
    row = session.get(Gain, key)
    if row is None:
        row = Gain(kind=key[0], agent=agent, model=model, tried=0, verified=0, updated_at=now)
        session.add(row)
    row.tried, row.verified, row.updated_at = row.tried + 1, row.verified + verified, now
    _learn(session, request, model, before, verified=verified, now=now)


def reset(kind: str | None = None, model: str | None = None) -> int:
    """Forget what was counted and learned, of one kind or model or of all; how many rows were forgotten."""
    forgotten = 0
    with transaction() as session:
        for table in (Gain, Learned):
            wanted = delete(table)
            wanted = wanted if kind is None else wanted.where(table.kind == kind)
            wanted = wanted if model is None else wanted.where(table.model == model)
            forgotten += session.execute(wanted).rowcount  # type: ignore[attr-defined]  # a cursor's, for a delete
    return forgotten


def _tallies(session: Session, request: ModelRequest, agent: str, models: tuple[str, ...]) -> Gains:
    these = (Gain.kind == request.kind.value, Gain.model.in_(models))
    whole = select(Gain.model, func.sum(Gain.tried), func.sum(Gain.verified)).where(*these).group_by(Gain.model)
    own = select(Gain.model, Gain.tried, Gain.verified).where(*these, Gain.agent == agent)
    return Gains(
        of_kind={model: Tally(tried=tried, verified=passed) for model, tried, passed in session.execute(whole)},
        of_agent={model: Tally(tried=tried, verified=passed) for model, tried, passed in session.execute(own)},
    )


def _predicted(session: Session, request: ModelRequest, gains: Gains, models: tuple[str, ...]) -> dict[str, float]:
    """The chance read from this very prompt, of the models for which that has proven better than counting."""
    known = select(Learned.model, Learned.examples, Learned.loss, Learned.base_loss)
    rows = session.execute(known.where(Learned.kind == request.kind.value, Learned.model.in_(models))).all()
    proven = [row.model for row in rows if learner.is_proven(row.examples, row.loss, row.base_loss)]
    if not proven:
        return {}
    seen, found = features(request.text), {}
    for model in proven:
        weights = _weights(session.get(Learned, (request.kind.value, model)))
        found[model] = learner.predict(weights, seen, counted(gains, model, NEUTRAL))
    return found


def _learn(
    session: Session, request: ModelRequest, model: str, before: float, *, verified: bool, now: datetime
) -> None:
    row = session.get(Learned, (request.kind.value, model))
    weights = _weights(row)
    learner.learn(weights, features(request.text), before, verified=verified)
    if row is None:
        row = Learned(kind=request.kind.value, model=model, weights=b"", updated_at=now)
        session.add(row)
    row.examples, row.loss, row.base_loss = weights.examples, weights.loss, weights.base_loss
    row.weights, row.updated_at = learner.to_bytes(weights), now


def _weights(row: Learned | None) -> learner.Weights:
    """As they were kept; new ones where there are none, or they are of another release."""
    kept = row and learner.from_bytes(row.weights, examples=row.examples, loss=row.loss, base_loss=row.base_loss)
    return kept or learner.Weights()
