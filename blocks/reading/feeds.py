"""RSS and Atom feeds, from a file or the web."""

import feedparser

from blocks.reading.items import Item
from blocks.reading.places import read_text, unreadable
from blocks.untrusted import as_data


def read_feed(source: str, *, max_items: int) -> list[Item]:
    """Newest entries of an RSS or Atom feed.

    Raises:
        BadInput: unreadable, or no feed.
    """
    feed = feedparser.parse(read_text(source))
    if not feed.entries:
        raise unreadable(source, "it holds no feed entries")
    entries = [
        Item(
            id=str(entry.get("id") or entry.get("link") or number),
            title=as_data(str(entry.get("title", "")), 200),
            text=as_data(str(entry.get("summary", ""))),
            url=str(entry.get("link", "")),
        )
        for number, entry in enumerate(feed.entries)
    ]
    return entries[:max_items]
