"""What a round came to, in the state folder's `logs/round.json`: for programs, such as a benchmark or a build."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from blocks.writing.outputs import write_whole
from deployments.by_kind import EVERYTHING, Tally, by_kind, tally
from deployments.status import short_path
from deployments.summary import Outcome, exit_code, first_output_seconds, verdict
from governor.settings import Home

NAME = "round.json"


@dataclass(frozen=True)
class Round:
    """A round as it was. `up_at`: when `hotdesk up` began; `only`: what was asked for, () for the whole fleet."""

    outcomes: tuple[Outcome, ...]
    up_at: datetime
    began_at: datetime
    ended_at: datetime
    only: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """From the first start to the last end."""
        return (self.ended_at - self.began_at).total_seconds()


def write_round(where: Home, done: Round) -> Path:
    """Put it in the place of the one before; its path.

    Raises:
        OSError: it cannot be written.
    """
    path = where.logs / NAME
    write_whole(path, (json.dumps(as_facts(done), indent=1) + "\n").encode())
    return path


def as_facts(done: Round) -> dict[str, Any]:
    """Everything that the tables show, and each agent by itself; units are in the names of the keys."""
    outcomes = done.outcomes
    return {
        "up_at": done.up_at.isoformat(),
        "began_at": done.began_at.isoformat(),
        "ended_at": done.ended_at.isoformat(),
        "round_seconds": round(done.seconds, 1),
        "up_seconds": round((done.ended_at - done.up_at).total_seconds(), 1),
        "first_output_seconds": first_output_seconds(outcomes, done.up_at),
        "only": list(done.only),
        "exit_code": exit_code(outcomes),
        "verdict": verdict(outcomes),
        "crashed": sum(outcome.crashed for outcome in outcomes),
        "total": _tally(tally(EVERYTHING, outcomes)),
        "kinds": [_tally(one) for one in by_kind(outcomes)],
        "agents": _agents(outcomes),
    }


def _tally(one: Tally) -> dict[str, Any]:
    share = one.verified_share
    rounded = {"desk_seconds": round(one.desk_seconds, 1), "line_seconds": round(one.line_seconds, 1)}
    return {**asdict(one), **rounded, "calls": one.calls, "verified_share": None if share is None else round(share, 3)}


def _agents(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    shown = []
    for outcome in outcomes:
        ended_at, path = outcome.ended_at, outcome.output_path
        times = {"ended_at": ended_at.isoformat() if ended_at else None}
        shown.append({**asdict(outcome), **times, "output_path": short_path(path) if path else None})
    return shown
