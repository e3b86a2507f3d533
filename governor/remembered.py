"""What agents were answered before: a request that says the same as an earlier one is not asked again.

An answer is judged anew by the rules of now. One that never passed is asked for at `MOST_TRIES` runs, then left alone
until what it is about changes. Both hold as long as this machine has no better model than the one that answered: what
the demo model said, and what a smaller one could not do, is asked anew then.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from governor.answers import Answer, judged
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest
from governor.profile import current_profile
from governor.state.agents import Remembered
from governor.state.sessions import reading, transaction

# Three different days or hours, each with a retry and a larger model: what did not pass then will not pass by itself.
MOST_TRIES = 3
KEPT_DAYS = 60
REASON = "answered before"


def digest_of(request: ModelRequest) -> str:
    """Of all that decides what a model would answer."""
    said = (request.kind, request.text, request.system, request.choices, request.json_schema, request.max_tokens)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def recall(agent: str, requests: Sequence[ModelRequest]) -> list[Answer | None]:
    """For each request the answer that stands from before; None where a model has to be asked."""
    digests = [digest_of(request) for request in requests]
    wanted = select(Remembered).where(Remembered.agent == agent, Remembered.digest.in_(digests))
    with reading() as session:
        rows = {row.digest: row for row in session.scalars(wanted)}
    if not rows:
        return [None for _ in requests]
    largest = largest_billion()
    return [_answer(request, rows.get(digest), largest) for request, digest in zip(requests, digests, strict=True)]


def largest_billion() -> float:
    """Size of the largest model that this machine writes with."""
    return max((spec.parameters_billion for spec in current_profile().tiers.values() if not spec.embeds), default=0.0)


def remember(agent: str, requests: Sequence[ModelRequest], answers: Sequence[Answer], *, now: datetime) -> None:
    """Keep what models answered; vectors and calls that gave no answer are not kept."""
    asked = [(r, a) for r, a in zip(requests, answers, strict=True) if not a.failed and r.kind is not Kind.EMBED]
    if not asked:
        return
    rows = {digest_of(request): _row(agent, request, answer, now) for request, answer in asked}
    with transaction() as session:
        for row in rows.values():
            new = insert(Remembered).values(row)
            changed = {**row, "tries": Remembered.tries + 1}
            session.execute(new.on_conflict_do_update(index_elements=["agent", "digest"], set_=changed))


def forget(agent: str | None = None) -> None:
    """Everything, of one agent or of all: each is asked again."""
    with transaction() as session:
        of_it = delete(Remembered).where(Remembered.agent == agent) if agent else delete(Remembered)
        session.execute(of_it)


def prune(now: datetime) -> None:
    """Forget what has not been asked anew for so long that it will not come again."""
    with transaction() as session:
        session.execute(delete(Remembered).where(Remembered.at < now - timedelta(days=KEPT_DAYS)))


def _answer(request: ModelRequest, row: Remembered | None, largest: float) -> Answer | None:
    if row is None or request.kind is Kind.EMBED:
        return None
    if row.parameters_billion < largest and (row.demo or not row.verified):
        return None
    text, data, problems = judged(request, row.text, cut=False)
    stands = row.verified and not problems
    if not stands and row.tries < MOST_TRIES:
        return None
    return Answer(
        text=text,
        data=data,
        verified=stands,
        problems=[] if stands else problems or row.problems,
        tier=row.tier,
        model=row.model,
        demo=row.demo,
        reason=f"{REASON}, {row.at:%Y-%m-%d}",
        parameters_billion=row.parameters_billion,
    )


def _row(agent: str, request: ModelRequest, answer: Answer, now: datetime) -> dict[str, Any]:
    return {
        "agent": agent,
        "digest": digest_of(request),
        "text": answer.text,
        "verified": answer.verified,
        "problems": answer.problems,
        "tries": 1,
        "tier": answer.tier,
        "model": answer.model,
        "demo": answer.demo,
        "parameters_billion": answer.parameters_billion,
        "at": now,
    }
