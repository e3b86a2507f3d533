"""What the flow `govern` leaves on the server: a table of the last look, and a picture of the last 24 hours.

The picture is an image artifact whose address holds it (a `data:` address): Prefect shows it in both of its UIs, with
no file to serve and nothing to fetch. A server keeps every artifact, so it is drawn anew only when a rung changed or
after half an hour. Nothing here fails the flow: a report that cannot be had is missed in the log.
"""

import base64
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from prefect.artifacts import create_image_artifact, create_table_artifact
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from blocks.document import UNUSABLE
from blocks.governor_picture import DAY, in_words, picture
from blocks.reading_words import figure, marks_in_words, words
from blocks.writing.markdown import cell
from governor.errors import HotdeskError
from governor.events import log_event
from governor.policy.pressure import Assessment
from governor.policy.rules import Rules
from governor.standing import known_rules
from governor.state.models import GovernorTick
from governor.state.sessions import reading, recall, remember
from governor.tick import last_seen

TABLE_KEY, PICTURE_KEY = "governor", "governor-day"
# When the last picture was drawn and which rung it ended on.
DRAWN_KEY = "governor_picture"
# 48 pictures a day are a quarter of a megabyte; the flow comes 480 times.
DRAW_EVERY = timedelta(minutes=30)
# What a server that is silent, refuses or answers nonsense raises, and a database that is locked, full or failing.
CANNOT_REPORT = (*UNUSABLE, SQLAlchemyError, HotdeskError)


@dataclass(frozen=True)
class Artifacts:
    """Where reports go: Prefect's own calls, or a test's."""

    table: Callable[..., Any] = create_table_artifact
    image: Callable[..., Any] = create_image_artifact


def report(looks: list[GovernorTick], done: list[str], *, now: datetime, artifacts: Artifacts | None = None) -> None:
    """Publish what these looks saw and did, and what else was set right (`done`, in words)."""
    to = artifacts or Artifacts()
    _try(TABLE_KEY, lambda: _publish_table(looks, done, now, to))
    _try(PICTURE_KEY, lambda: _publish_picture(looks, now, to))


def _try(key: str, publish: Callable[[], None]) -> None:
    try:
        publish()
    except CANNOT_REPORT as error:
        why = f"{type(error).__name__}: {error}"[:300]
        log_event("not_reported", level=logging.WARNING, artifact=key, why=why)


def _publish_table(looks: Sequence[GovernorTick], done: Sequence[str], now: datetime, to: Artifacts) -> None:
    rules, seen = known_rules(), last_seen()
    rows = table(looks[-1], rules, seen, now=now)
    to.table(key=TABLE_KEY, table=rows, description=description(looks, done, rules))


def table(look: GovernorTick, rules: Rules, seen: Assessment, *, now: datetime) -> list[dict[str, str]]:
    """Every reading in words; those that have marks first, with their level and the marks that count now."""
    night, marks = rules.hours.is_night(now), {mark.reading: mark for mark in rules.marks}
    rows = []
    for name, value in look.readings.items():
        mark, resource = marks.get(name), seen.resources.get(name)
        about = f" ({unmarked(resource.about)})" if resource and resource.about and resource.value == value else ""
        rows.append(
            {
                "reading": words(name),
                "level": resource.level.value if mark and resource else "",
                "value": figure(name, value) + about,
                "marks": marks_in_words(mark, night=night) if mark else "",
            }
        )
    return sorted(rows, key=lambda row: not row["marks"])


def description(looks: Sequence[GovernorTick], done: Sequence[str], rules: Rules) -> str:
    """Rung, reason, and what was done, by the clock of the operator's zone; in markdown."""
    last, zone = looks[-1], ZoneInfo(rules.hours.zone)
    dry = " (dry run)" if last.dry_run else ""
    said = f"rung **{last.rung}**, pressure {last.pressure}: {unmarked(last.reason)}{dry}"
    acts = [f"- {look.at.astimezone(zone):%H:%M:%S} {unmarked(act)}" for look in looks for act in look.actions]
    return "\n".join([said, "", *acts, *(f"- {unmarked(what)}" for what in done)]).rstrip()


def unmarked(text: str) -> str:
    """Text of others (a model's name, a line of the kernel's log) without line breaks, links and markup of its own."""
    return re.sub(r"([\[\]*`])", r"\\\1", cell(text))


def _publish_picture(looks: Sequence[GovernorTick], now: datetime, to: Artifacts) -> None:
    if not _is_due(looks, now):
        return
    with reading() as session:
        day = list(session.scalars(select(GovernorTick).where(GovernorTick.at > now - DAY).order_by(GovernorTick.at)))
    rules = known_rules()
    to.image(
        key=PICTURE_KEY,
        image_url=data_address(picture(day, rules, now=now)),
        description=in_words(day, rules, now=now),
    )
    remember(DRAWN_KEY, f"{now.isoformat()} {looks[-1].rung}")


def data_address(svg: str) -> str:
    """The picture as an address that holds it whole."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _is_due(looks: Sequence[GovernorTick], now: datetime) -> bool:
    """Whether a rung changed since the last picture, the sentinels' moves included, or it is half an hour old."""
    at, _, rung = recall(DRAWN_KEY).partition(" ")
    try:
        age = now - datetime.fromisoformat(at)
    except (ValueError, TypeError):
        return True
    return not timedelta(0) <= age < DRAW_EVERY or any(look.rung != rung for look in looks)
