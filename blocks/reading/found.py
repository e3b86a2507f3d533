"""What reading a source came to: its items, each with an id of its own, and what could not be read. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

from dateutil.parser import ParserError, parse

from blocks.reading.items import Item

ItemT = TypeVar("ItemT", bound=Item)
# More than any agent works on in a day; what is older than these is not looked at.
MOST_ITEMS = 2000
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
# What a date does not say comes from here; without a zone, so that a written one wins. No year: no date.
NEVER = datetime(1, 1, 1)


class Message(Item):
    """An item that somebody wrote to somebody.

    Attributes:
        sender: name and address as written. thread: id of its thread's first message, its own where it is none.
        answered: whether one of our own addresses wrote later in its thread.
        attachments: names of what came with it, which nobody opened.
    """

    sender: str = ""
    thread: str = ""
    answered: bool = False
    attachments: tuple[str, ...] = ()


@dataclass
class Found(Generic[ItemT]):
    """The items of a source, newest first, those without a date last. `problems`: what is not among them, and why."""

    items: list[ItemT] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def distinct(items: Iterable[ItemT]) -> list[ItemT]:
    """Each item once, each with an id of its own.

    The same id with other words is another item: who forges an id cannot hide the message that came first.
    """
    known: dict[str, ItemT] = {}
    for item in items:
        first = known.get(item.id)
        if first is not None and (first.title, first.text) == (item.title, item.text):
            continue
        own = item if first is None else item.model_copy(update={"id": f"{item.id}~{item.sha256[:8]}"})
        known.setdefault(own.id, own)
    return list(known.values())


def newest_first(items: Iterable[ItemT]) -> list[ItemT]:
    """By date; those without one keep their order at the end."""
    return sorted(items, key=lambda item: item.at or LONG_AGO, reverse=True)


def aware(moment: datetime | None) -> datetime | None:
    """In UTC; a time that names no zone is taken for UTC, and one that no calendar of ours holds for none."""
    if moment is None or not 1970 <= moment.year <= 2100:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def written_at(written: str) -> datetime | None:
    """A date as exports write it (ISO 8601, `24.11.2026`, `24 Nov 2026`; of two numbers before the year the day comes
    first), None for what is none."""
    try:
        return aware(parse(written[:60], dayfirst=not written[:4].isdecimal(), default=NEVER)) if written else None
    except (ParserError, ValueError, OverflowError, TypeError):
        return None
