"""Any source as items, read by its form: a feed, mails, a tracker's issues, documents, the rows of a CSV file.

Each form has its own reader; this module only chooses among them.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from blocks.reading.documents import read_folder
from blocks.reading.feeds import read_feed
from blocks.reading.found import Found, ItemT, distinct, written_at
from blocks.reading.items import Item
from blocks.reading.messages import read_messages
from blocks.reading.places import locate, read_bytes, read_text, unreadable
from blocks.reading.rows import ROW_SUFFIXES, first_rows, last_rows
from blocks.untrusted import as_data
from governor.errors import BadInput

# How far into a file one looks for what it is.
HEAD_BYTES = 512
FEED_SUFFIXES = frozenset({".xml", ".rss", ".atom"})
# Rows by whose values a column of dates is known.
LOOKED_AT = 50
DATE = re.compile(r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)|(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})")
FEED_MARKS = (b"<rss", b"<feed", b"<rdf:rdf")


def read_items(source: str, *, max_items: int, max_bytes: int) -> Found[Item]:
    """What the source holds, at most `max_items` of it, the newest where anything says when it was written.

    `problems` says what is not among them: what is older, what is past `max_bytes`, what could not be read.

    Raises:
        BadInput: unreadable, or empty.
    """
    if source.lower().startswith(("http://", "https://")):
        return _page_or_feed(source, max_items, max_bytes)
    path = locate(source)
    if path.is_dir():
        is_maildir = any((path / part).is_dir() for part in ("cur", "new"))
        if is_maildir:
            return _newest(read_messages(source, max_bytes=max_bytes), max_items)
        return _documents(source, max_items, max_bytes)
    suffix = path.suffix.lower()
    if suffix in ROW_SUFFIXES:
        return _row_items(source, max_items, max_bytes)
    if suffix in {".mbox", ".json"} or _head(source).startswith(b"From "):
        return _newest(read_messages(source, max_bytes=max_bytes), max_items)
    if suffix in FEED_SUFFIXES or any(mark in _head(source).lower() for mark in FEED_MARKS):
        return _newest(read_feed(source, max_bytes=max_bytes), max_items)
    return _documents(source, max_items, max_bytes)


def _head(source: str) -> bytes:
    return read_bytes(source, max_bytes=HEAD_BYTES)


def _newest(found: Found[ItemT], max_items: int) -> Found[Item]:
    """The first of what a reader found, which are the newest."""
    left = len(found.items) - max_items
    return Found([*found.items[:max_items]], [*found.problems, *([f"{left} older ones"] if left > 0 else [])])


def _documents(source: str, max_items: int, max_bytes: int) -> Found[Item]:
    read = read_folder(source, max_items=max_items, max_bytes=max_bytes)
    unread = [f"{name}: {why}" for name, why in read.unread.items()]
    if not read.items:
        raise unreadable(source, unread[0])
    return Found(read.items, [*unread, *([f"{read.left_out} older ones"] if read.left_out else [])])


def _page_or_feed(address: str, max_items: int, max_bytes: int) -> Found[Item]:
    """The entries of a feed; of anything else that the address gives, its text as one item."""
    try:
        return _newest(read_feed(address, max_bytes=max_bytes), max_items)
    except BadInput:
        text = as_data(read_text(address, max_bytes=max_bytes), max_bytes)
        if not text:
            raise
        return Found([Item(id=address, title=Path(address).name or address, text=text, url=address)])


def _row_items(source: str, max_items: int, max_bytes: int) -> Found[Item]:
    """Rows; a title is the first value, the text the others as `column: value`, the id the column `id` or a number.

    Where a column holds dates the newest rows come first; else they keep their order.
    """
    part = first_rows(source, max_bytes=max_bytes)
    column = _date_column(part.rows)
    if part.is_cut and column:
        part = last_rows(source, max_bytes=max_bytes)
    numbered = [(number, row) for number, row in enumerate(part.rows, 1) if any(row.values())]
    if not numbered:
        raise unreadable(source, "it has a head and no rows")
    if column:
        numbered.sort(key=lambda one: _day_of(one[1].get(column, "")), reverse=True)
    left = len(numbered) - max_items
    items = distinct(_row_item(row, number, row.get(column, "")) for number, row in numbered[:max_items])
    problems = [f"{left} {'older' if column else 'more'} rows"] if left > 0 else []
    return Found(items, [*problems, *([f"rows past {max_bytes} bytes of the file"] if part.is_cut else [])])


def _date_column(rows: Sequence[Mapping[str, str]]) -> str:
    """The first column whose values are dates, '' where none is."""
    some = rows[:LOOKED_AT]
    for column in some[0] if some else ():
        values = [row[column] for row in some if row.get(column)]
        if 2 * len(values) > len(some) and all(map(_day_of, values)):
            return column
    return ""


def _day_of(value: str) -> str:
    """A date as it sorts, year first, with whatever follows it; '' for what is none."""
    found = DATE.match(value)
    if not found:
        return ""
    year, month, day = found["y"] or found["year"], found["m"] or found["month"], found["d"] or found["day"]
    return f"{year}-{month:0>2}-{day:0>2}{value[found.end() :]}"


def _row_item(row: dict[str, str], number: int, date: str) -> Item:
    cells = [(column, as_data(value, 400)) for column, value in row.items() if column != "id" and value]
    title = cells[0][1] if cells else ""
    text = "; ".join(f"{column}: {value}" for column, value in cells[1:])
    return Item(id=row.get("id") or f"row {number}", title=title[:200], text=text or title, at=written_at(date))
