"""A seat without a line: a ticket row that says `seated`, and the model held for it. The residency is the real one."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import select

from governor.policy.facts import ModelSpec
from governor.processes import identify
from governor.residency import Residence, resident
from governor.state.models import Ticket
from governor.state.residents import Resident
from governor.state.sessions import reading, transaction
from governor.unloading import unload_idle


@contextmanager
def seat(spec: ModelSpec) -> Iterator[Residence]:
    """Hold `spec` in memory inside the block. Raises what `resident` raises."""
    ticket = _ticket(spec)
    try:
        with resident(spec, ticket) as held:
            yield held
    finally:
        with transaction() as session:
            row = session.get_one(Ticket, ticket)
            row.state, row.ended_at = "done", datetime.now(UTC)


def _ticket(spec: ModelSpec) -> int:
    now = datetime.now(UTC)
    row = Ticket(
        uuid=uuid.uuid4().hex,
        line=spec.line,
        state="seated",
        agent="benchmark",
        model=spec.model,
        patience_seconds=60.0,
        taken_at=now,
        seated_at=now,
    )
    row.identity = identify()
    with transaction() as session:
        session.add(row)
    return row.id


def residents() -> list[Resident]:
    """Rows of models that are in memory and idle, oldest first."""
    with reading() as session:
        return list(session.scalars(select(Resident).where(Resident.state == "resident").order_by(Resident.id)))


def evict_all() -> None:
    """Nothing of ours is left in memory."""
    for row in residents():
        unload_idle(row.id, reason="the benchmark says so")
