"""Eviction: every few minutes the models that nobody used for too long leave memory."""

from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from blocks.policy import current_rules
from governor.tick import evict_idle


@flow(name="evict")
def evict() -> list[str]:
    """Evict once; returns what was done, in words."""
    done = evict_idle(datetime.now(UTC), rules=current_rules())
    create_markdown_artifact(key="evictions", markdown="\n".join(f"- {what}" for what in done) or "Nothing to evict.")
    return done
