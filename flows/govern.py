"""The governor: looks every few minutes and moves at most one rung. On a queue and worker of its own.

It also sees to the lines: what the dead hold, and Prefect's side of it where that differs from our rows.
"""

from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client

from blocks.policy import current_rules
from governor.lease import served_leases
from governor.mirror import reconcile
from governor.profile import current_profile
from governor.tick import tick
from governor.tidying import tidy_lines

POOL = "hotdesk"


@flow(name="govern")
def govern() -> str:
    """One look; returns the rung. Its readings and what was set right stand in the artifact `governor`."""
    now, lines = datetime.now(UTC), current_profile().slots
    row = tick(now, rules=current_rules())
    done = tidy_lines(lines)
    with get_client(sync_client=True) as client:
        done += reconcile(client, lines, leases=served_leases(client), pool=POOL, now=now)
    table = [{"reading": name, "value": _shown(value)} for name, value in row.readings.items()]
    said = f"rung **{row.rung}**, pressure {row.pressure}: {row.reason}"
    create_table_artifact(key="governor", table=table, description="\n".join([said, *(f"- {what}" for what in done)]))
    return row.rung


def _shown(value: object) -> object:
    return round(value, 1) if isinstance(value, float) else value
