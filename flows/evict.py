"""Eviction: every few minutes the models that nobody used for too long, or that are too many, leave memory.

It also looks at what Prefect has scheduled: what will be needed next leaves last.
"""

import logging
from datetime import UTC, datetime

import httpx
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client

from blocks.policy import current_rules
from governor.events import log_event
from governor.evicting import evict_idle
from governor.forecasting import keep
from governor.schedule import scheduled_runs


@flow(name="evict")
def evict() -> list[str]:
    """Look ahead, then evict once; returns what was done, in words."""
    now = datetime.now(UTC)
    look_ahead(now)
    done = evict_idle(now, rules=current_rules())
    create_markdown_artifact(key="evictions", markdown="\n".join(f"- {what}" for what in done) or "Nothing to evict.")
    return done


def look_ahead(now: datetime) -> None:
    """Keep what the server has scheduled; what it said before stands when it does not answer."""
    try:
        with get_client(sync_client=True) as client:
            keep(scheduled_runs(client, now=now), now=now)
    except httpx.HTTPError as error:
        log_event("did_not_look_ahead", level=logging.WARNING, why=f"{type(error).__name__}: {error}")
