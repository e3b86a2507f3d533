"""What agents were answered before: a request that says the same as an earlier one is not asked again.

An answer is judged anew by the rules of now. One that never passed is asked for at `MOST_TRIES` runs, then left alone
until what it is about changes. Both hold as long as no larger model could do this request than the one that answered:
what the demo model said, and what a smaller one could not do, is asked anew then.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from governor.answers import Answer, judged
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest
from governor.state.agents import Remembered
from governor.state.sessions import reading, transaction

# Three different days or hours, each with a retry and a larger model: what did not pass then will not pass by itself.
MOST_TRIES = 3
KEPT_DAYS = 60
# How often it is written down that an answer was of use.
FRESH = timedelta(days=1)
Sizes = Callable[[ModelRequest], float]
REASON = "answered before"


def digest_of(request: ModelRequest) -> str:
    """Of all that decides what a model would answer."""
    wish = (request.max_tokens, request.votes, request.quality)
    said = (request.kind, request.text, request.system, request.choices, request.json_schema, *wish)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def recall(agent: str, requests: Sequence[ModelRequest], *, now: datetime, largest: Sizes) -> list[Answer | None]:
    """For each request the answer that stands from before; None where a model has to be asked.

    Args:
        largest: the size of the largest model that could do a request, in billions of parameters.
    """
    digests = [digest_of(request) for request in requests]
    wanted = select(Remembered).where(Remembered.agent == agent, Remembered.digest.in_(digests))
    with reading() as session:
        rows = {row.digest: row for row in session.scalars(wanted)}
    found = [_answer(request, rows.get(d), largest) for request, d in zip(requests, digests, strict=True)]
    used = [d for d, answer in zip(digests, found, strict=True) if answer is not None and rows[d].at < now - FRESH]
    if used:
        with transaction() as session:
            session.execute(
                update(Remembered).where(Remembered.agent == agent, Remembered.digest.in_(used)).values(at=now)
            )
    return found


def remember(agent: str, requests: Sequence[ModelRequest], answers: Sequence[Answer], *, now: datetime) -> None:
    """Keep what models answered; vectors and calls that gave no answer are not kept."""
    asked = [(r, a) for r, a in zip(requests, answers, strict=True) if not a.failed and r.kind is not Kind.EMBED]
    if not asked:
        return
    rows = {digest_of(request): _row(agent, request, answer, now) for request, answer in asked}
    with transaction() as session:
        for row in rows.values():
            new = insert(Remembered).values(row)
            said = new.excluded
            # Tries are those of one size of model; what once passed is not lost to a worse try.
            again = case((Remembered.parameters_billion == said.parameters_billion, Remembered.tries + 1), else_=1)
            changed = {**row, "tries": case((said.verified, 1), else_=again)}
            keep = said.verified | ~Remembered.verified
            session.execute(new.on_conflict_do_update(index_elements=["agent", "digest"], set_=changed, where=keep))


def forget(agent: str | None = None) -> int:
    """Everything, of one agent or of all: each is asked again. How many answers that were."""
    of_it = delete(Remembered).where(Remembered.agent == agent) if agent else delete(Remembered)
    with transaction() as session:
        return len(session.execute(of_it.returning(Remembered.digest)).all())


def prune(now: datetime) -> None:
    """Forget what nobody asked about for so long that it will not come again."""
    with transaction() as session:
        session.execute(delete(Remembered).where(Remembered.at < now - timedelta(days=KEPT_DAYS)))


def _answer(request: ModelRequest, row: Remembered | None, largest: Sizes) -> Answer | None:
    if row is None or request.kind is Kind.EMBED:
        return None
    if (row.demo or not row.verified) and row.parameters_billion < largest(request):
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
