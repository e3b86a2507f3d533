"""What the governor did in a run, from its own records: each look that moved or did something, by whom and why."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import select

from governor.policy.facts import Rung
from governor.policy.ladder import LADDER
from governor.state.models import GovernorTick
from governor.state.sessions import reading
from tests.benchmarks.report import rounded


def steps(began_s: float, until_s: float, readings: Sequence[str]) -> list[dict[str, Any]]:
    """In between (monotonic seconds), with these readings as they were then; one that was unknown is left out."""
    wall_s = time.time() - time.monotonic()
    since, until = (datetime.fromtimestamp(wall_s + moment_s, UTC) for moment_s in (began_s, until_s))
    wanted = select(GovernorTick).where(GovernorTick.at >= since, GovernorTick.at <= until)
    with reading() as session:
        rows = session.scalars(wanted.order_by(GovernorTick.at)).all()
    return [_step(row, row.at.timestamp() - wall_s - began_s, readings) for row in rows if row.actions]


def _step(row: GovernorTick, after_s: float, readings: Sequence[str]) -> dict[str, Any]:
    seen = {name: row.readings[name] for name in readings if isinstance(row.readings.get(name), int | float)}
    return {
        "after_s": round(after_s, 2),
        "by": row.by,
        "rung": row.rung,
        **{name: rounded(value) for name, value in seen.items()},
        "did": row.actions,
        "why": row.reason,
    }


def rungs(taken: Sequence[dict[str, Any]]) -> list[str]:
    """The rungs that the ladder came to, in their order."""
    return [step["rung"] for step in taken if any("moved from" in did for did in step["did"])]


def in_order(rungs: Sequence[str], *, shortcuts: bool = False) -> bool:
    """Whether it went one rung at a time, from normal and back to it; with shortcuts it may skip some on its way up."""
    at = [0, *(LADDER.index(Rung(rung)) for rung in rungs)]
    moves = [after - before for before, after in pairwise(at)]
    return bool(moves) and at[-1] == 0 and all(move in (-1, 1) or (shortcuts and move > 1) for move in moves)
