"""Any source as items, read by its form: a feed, mails, a tracker's issues, documents, the rows of a CSV file.

Each form has its own reader; this module only chooses among them.
"""

from pathlib import Path

from blocks.reading.documents import read_documents
from blocks.reading.feeds import read_feed
from blocks.reading.found import distinct
from blocks.reading.items import Item
from blocks.reading.messages import read_messages
from blocks.reading.places import locate, read_bytes, read_text, unreadable
from blocks.reading.rows import read_rows
from blocks.untrusted import as_data
from governor.errors import BadInput

# How far into a file one looks for what it is.
HEAD_BYTES = 512
FEED_SUFFIXES = frozenset({".xml", ".rss", ".atom"})
ROW_SUFFIXES = frozenset({".csv", ".tsv"})
FEED_MARKS = (b"<rss", b"<feed", b"<rdf:rdf")


def read_items(source: str, *, max_items: int, max_bytes: int) -> list[Item]:
    """What the source holds, at most `max_items` of it.

    Raises:
        BadInput: unreadable, or empty.
    """
    if source.startswith(("http://", "https://")):
        return _page_or_feed(source, max_items, max_bytes)
    path = locate(source)
    if path.is_dir():
        is_maildir = any((path / part).is_dir() for part in ("cur", "new"))
        if is_maildir:
            return [*read_messages(source, max_items=max_items, max_bytes=max_bytes).items]
        return read_documents(source, max_items=max_items, max_bytes=max_bytes)
    suffix = path.suffix.lower()
    if suffix in ROW_SUFFIXES:
        return _row_items(source, max_items, max_bytes)
    if suffix in {".mbox", ".json"} or _head(source).startswith(b"From "):
        return [*read_messages(source, max_items=max_items, max_bytes=max_bytes).items]
    if suffix in FEED_SUFFIXES or any(mark in _head(source).lower() for mark in FEED_MARKS):
        return read_feed(source, max_items=max_items, max_bytes=max_bytes).items
    return read_documents(source, max_items=max_items, max_bytes=max_bytes)


def _head(source: str) -> bytes:
    return read_bytes(source, max_bytes=HEAD_BYTES)


def _page_or_feed(address: str, max_items: int, max_bytes: int) -> list[Item]:
    """The entries of a feed; of anything else that the address gives, its text as one item."""
    try:
        return read_feed(address, max_items=max_items, max_bytes=max_bytes).items
    except BadInput:
        text = as_data(read_text(address, max_bytes=max_bytes), max_bytes)
        if not text:
            raise
        return [Item(id=address, title=Path(address).name or address, text=text, url=address)]


def _row_items(source: str, max_items: int, max_bytes: int) -> list[Item]:
    """Rows; a title is the first value, the text the others as `column: value`, the id the column `id` or a number."""
    rows = [row for row in read_rows(source, max_bytes=max_bytes) if any(row.values())][:max_items]
    if not rows:
        raise unreadable(source, "it has a head and no rows")
    return distinct(_row_item(row, number) for number, row in enumerate(rows, 1))


def _row_item(row: dict[str, str], number: int) -> Item:
    cells = [(column, as_data(value, 400)) for column, value in row.items() if column != "id" and value]
    title = cells[0][1] if cells else ""
    text = "; ".join(f"{column}: {value}" for column, value in cells[1:])
    return Item(id=row.get("id") or f"row {number}", title=title[:200], text=text or title)
