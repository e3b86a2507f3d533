"""Messages, whatever they come as: a maildir, an mbox, a tracker's issues as JSON, rows of a CSV file."""

from collections.abc import Collection, Mapping

from blocks.reading.found import MOST_ITEMS, Found, Message
from blocks.reading.issues import read_issues
from blocks.reading.mail import read_mail
from blocks.reading.message_rows import read_message_rows
from blocks.reading.places import MAX_BYTES


def read_messages(
    source: str,
    *,
    columns: Mapping[str, str] | None = None,
    own: Collection[str] = (),
    max_items: int = MOST_ITEMS,
    max_bytes: int = MAX_BYTES,
) -> Found[Message]:
    """Newest messages of a source: `.json` are issues, `.csv` and `.tsv` rows, a folder is a maildir, else an mbox.

    Args:
        columns: of a CSV file (`read_message_rows`). own: our own mail addresses (`read_mail`).

    Raises:
        BadInput: unreadable, empty, or none of these.
    """
    form = source.rpartition(".")[2].lower()
    if form == "json":
        return read_issues(source, max_items=max_items, max_bytes=max_bytes)
    if form in ("csv", "tsv"):
        return read_message_rows(source, columns or {}, max_items=max_items, max_bytes=max_bytes)
    found = read_mail(source, own=own, max_bytes=max_bytes)
    found.items = found.items[:max_items]
    return found
