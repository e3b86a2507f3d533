"""Eviction: every few minutes the models that nobody used for too long, or that are too many, leave memory.

It also looks at what Prefect has scheduled: what will be needed next leaves last.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from sqlalchemy.exc import OperationalError

from blocks.document import UNUSABLE
from blocks.policy import current_rules
from governor.errors import HotdeskError
from governor.events import log_event
from governor.evicting import evict_idle
from governor.forecasting import keep
from governor.schedule import scheduled_runs

# What a server that is silent, refuses or answers nonsense raises, and a database that is locked, full or failing.
CANNOT_LOOK = (*UNUSABLE, OperationalError, HotdeskError)


@flow(name="evict")
def evict() -> list[str]:
    """Look ahead, then evict once; returns what was done, in words."""
    now = datetime.now(UTC)
    look_ahead(now)
    done = evict_idle(now, rules=current_rules())
    create_markdown_artifact(key="evictions", markdown="\n".join(f"- {what}" for what in done) or "Nothing to evict.")
    return done


def ask_server(now: datetime) -> list[tuple[str, datetime]]:
    """(agent, expected start) of what Prefect has scheduled."""
    with get_client(sync_client=True) as client:
        return scheduled_runs(client, now=now)


def look_ahead(now: datetime, *, ask: Callable[[datetime], list[tuple[str, datetime]]] = ask_server) -> None:
    """Keep what the server has scheduled; what was kept before stands when it cannot be had, and eviction goes on."""
    try:
        keep(ask(now), now=now)
    except CANNOT_LOOK as error:
        log_event("did_not_look_ahead", level=logging.WARNING, why=f"{type(error).__name__}: {error}")
