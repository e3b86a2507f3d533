"""What is kept of every call: where it went, what else was weighed, what it took, and whether the answer stood.

Checked answers also teach the router what the model does well (`governor.learning`). No word of a prompt is kept.
"""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from governor import accounts, learning
from governor.answers import Answer
from governor.batch import Batch
from governor.decided import QUOTED, VERIFIED
from governor.errors import HotdeskError
from governor.events import log_event
from governor.policy.requests import Candidate
from governor.state.models import Decision
from governor.state.sessions import transaction

VERDICT_CHARACTERS = 300


def record(
    batch: Batch, index: int, candidate: Candidate, answer: Answer, *, line_seconds: float, joules: float | None = None
) -> None:
    """One row for this call, and what it teaches, in one transaction; an answer is not lost because that fails."""
    batch.attempts[index] += 1
    try:
        with transaction() as session:
            _keep(session, batch, index, candidate, answer, _Cost(line_seconds, joules))
    except (SQLAlchemyError, HotdeskError) as error:
        log_event("decision_lost", level=logging.WARNING, holder=batch.asker.agent, why=type(error).__name__)


@dataclass(frozen=True)
class _Cost:
    line_seconds: float
    joules: float | None


def _keep(session: Session, batch: Batch, index: int, candidate: Candidate, answer: Answer, cost: _Cost) -> None:
    request, now, is_first = batch.requests[index], datetime.now(UTC), batch.attempts[index] == 1
    session.add(_row(batch, index, candidate, answer, cost, now))
    # Later calls see only what an earlier one failed at: they would make a model look worse than it is.
    if request.is_checked and is_first and not answer.failed:
        learning.record(session, request, batch.asker.agent, candidate.model, answer.verified, now)


def _row(batch: Batch, index: int, candidate: Candidate, answer: Answer, cost: _Cost, now: datetime) -> Decision:
    request, spec, is_first = batch.requests[index], candidate.spec, batch.attempts[index] == 1
    return Decision(
        at=now,
        flow_run_id=batch.mandate.flow_run_id,
        agent=batch.asker.agent,
        kind=request.kind.value,
        tier=candidate.tier,
        engine=spec.engine if spec else "cloud",
        model=candidate.model,
        reason=candidate.reason,
        refusals=[refusal.model_dump(include={"tier", "reason"}) for refusal in batch.route.refusals if is_first],
        tokens_in=answer.tokens_in,
        tokens_out=answer.tokens_out,
        line_seconds=cost.line_seconds,
        work_seconds=answer.seconds,
        first_token_seconds=answer.first_token_seconds,
        verdict=VERIFIED if answer.verified else QUOTED.sub("...", "; ".join(answer.problems))[:VERDICT_CHARACTERS],
        request_id=batch.ids[index],
        attempt=batch.attempts[index],
        line=spec.line if spec else "cloud",
        privacy=request.allowed.value,
        quality=request.quality.value if request.quality else None,
        due_at=request.due_at or batch.mandate.due_at,
        candidates=[_weighed(one) for one in batch.route.candidates if is_first],
        energy_joules=cost.joules,
        shadow_usd=accounts.list_price_usd(candidate, answer.tokens_in, answer.tokens_out),
    )


def _weighed(candidate: Candidate) -> dict[str, object]:
    """A candidate as it is kept."""
    return {
        "tier": candidate.tier,
        "model": candidate.model,
        "reason": candidate.reason,
        "wait_seconds": round(candidate.wait_seconds, 1),
        "work_seconds": round(candidate.work_seconds, 1),
        "price_seconds": round(candidate.price_seconds, 1),
        "chance": round(candidate.chance, 3),
    }
