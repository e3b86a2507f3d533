"""Tell Prefect that the rung changed: the event `hotdesk.governor.<rung>`, for automations and notifications."""

import logging
import os

from governor.events import log_event
from governor.state.models import GovernorTick


def announce_rung(record: GovernorTick) -> None:
    """Emit the event of a step; without a server in use nothing is sent, and no failure is the governor's.

    Prefect sends from a thread of its own, so this returns at once.
    """
    if not os.environ.get("PREFECT_API_URL"):
        return
    try:
        from prefect.events import emit_event  # 1.6 CPU-seconds that a run has paid and `hotdesk status` must not

        emit_event(
            event=f"hotdesk.governor.{record.rung}",
            resource={"prefect.resource.id": "hotdesk.governor", "prefect.resource.name": "governor"},
            payload={"rung": record.rung, "reason": record.reason, "actions": record.actions, "by": record.by},
        )
    except Exception as error:  # whatever a client of a half-dead server raises
        log_event("not_announced", level=logging.WARNING, tier=record.rung, why=f"{type(error).__name__}: {error}")
