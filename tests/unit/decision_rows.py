"""Rows as a run leaves them: calls of a small model, some of which went up to a larger one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from governor.state.models import AgentRun, Decision
from governor.state.sessions import transaction

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
NEWS = "2f9c1a04-0000-4000-8000-000000000001"
OTHER = "2f9c1b05-0000-4000-8000-000000000002"
FITS = "a constrained answer needs no more; line cpu: 0 ahead, about 0 s; to be loaded"
LARGE = "large enough for classify; line gpu: 3 ahead, about 60 s; resident"
SOON = {"wait_seconds": 2.0, "work_seconds": 41.0, "chance": 0.9}
TINY = {"tier": "tiny", "model": "smollm2-135m", "reason": FITS, **SOON}
HEAVY = {
    "tier": "heavy",
    "model": "qwen2.5:7b",
    "reason": LARGE,
    "wait_seconds": 60,
    "work_seconds": 12,
    "chance": 0.98,
    "price_seconds": 30.0,
}
PRIVATE = {"tier": "cloud", "reason": "private: these words stay on this machine"}


def call(**fields: Any) -> Decision:
    """One call to the tiny model that passed its checks."""
    row: dict[str, Any] = {
        "at": NOW,
        "flow_run_id": NEWS,
        "agent": "digest/news",
        "kind": "classify",
        "tier": "tiny",
        "engine": "embedded",
        "model": "smollm2-135m",
        "line": "cpu",
        "reason": FITS,
        "candidates": [TINY, HEAVY],
        "refusals": [PRIVATE],
        "tokens_in": 40,
        "tokens_out": 2,
        "line_seconds": 8.0,
        "work_seconds": 3.0,
        "verdict": "verified",
        "request_id": "r0",
        "attempt": 1,
        "privacy": "local_only",
        "shadow_usd": 0.00002,
    }
    return Decision(**(row | fields))


def by_heavy(**fields: Any) -> Decision:
    row = {"tier": "heavy", "engine": "ollama", "model": "qwen2.5:7b", "line": "gpu", "reason": LARGE, "attempt": 2}
    return call(**(row | {"line_seconds": 5.0, "energy_joules": 90.0} | fields))


def batch(wrong: Sequence[int] = (), count: int = 12, **fields: Any) -> list[Decision]:
    """A batch of requests; those in `wrong` went up to the heavy model."""
    rows = []
    for number in range(count):
        name: dict[str, Any] = {"request_id": f"r{number}", **fields}
        if number not in wrong:
            rows.append(call(**name))
            continue
        rows.append(call(verdict=f"'label {number}' is none of the choices", **name))
        rows.append(by_heavy(**name))
    return rows


def kept(*rows: Decision | AgentRun) -> None:
    with transaction() as session:
        for row in rows:
            session.add(row)
            session.flush()  # ids in this order


def run_row(**fields: Any) -> AgentRun:
    row: dict[str, Any] = {"flow_run_id": NEWS, "agent": "digest/news", "state": "written", "started_at": NOW}
    return AgentRun(**(row | {"ended_at": NOW + timedelta(seconds=52)} | fields))


def numbered(rows: list[Decision]) -> list[Decision]:
    for number, row in enumerate(rows, 1):
        row.id = number
    return rows
