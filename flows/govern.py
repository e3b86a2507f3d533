"""The governor: looks every few minutes and moves at most one rung at a time. On a queue and worker of its own.

It also sees to the lines: what the dead hold, and Prefect's side of it where that differs from our rows.
"""

from datetime import UTC, datetime

from prefect import flow
from prefect.client.orchestration import get_client

from blocks.governor_report import report
from blocks.policy import current_rules
from governor.lease import served_leases
from governor.mirror import reconcile
from governor.profile import current_profile
from governor.tick import WATCH_SECONDS, govern_for
from governor.tidying import tidy_lines

POOL = "hotdesk"


@flow(name="govern")
def govern() -> str:
    """See to the lines, then look until all is calm; returns the rung. The artifacts `governor` tell the rest."""
    now, lines = datetime.now(UTC), current_profile().slots
    done = tidy_lines(lines)
    with get_client(sync_client=True) as client:
        done += reconcile(client, lines, leases=served_leases(client), pool=POOL, now=now)
    looks = govern_for(WATCH_SECONDS, rules=current_rules())
    report(looks, done, now=datetime.now(UTC))
    return looks[-1].rung
