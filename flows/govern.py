"""The governor: looks every few minutes and moves at most one rung. On a queue and worker of its own."""

from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_table_artifact

from blocks.policy import current_rules
from governor.tick import tick


@flow(name="govern")
def govern() -> str:
    """One look; returns the rung. Its readings stand in the artifact `governor`."""
    row = tick(datetime.now(UTC), rules=current_rules())
    table = [{"reading": name, "value": _shown(value)} for name, value in row.readings.items()]
    create_table_artifact(
        key="governor", table=table, description=f"rung **{row.rung}**, pressure {row.pressure}: {row.reason}"
    )
    return row.rung


def _shown(value: object) -> object:
    return round(value, 1) if isinstance(value, float) else value
