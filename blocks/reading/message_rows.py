"""Rows of a CSV export as messages; columns are named by who set it up, the encoding is found out."""

from collections.abc import Mapping

from blocks.reading.found import MOST_ITEMS, Found, Message, distinct, newest_first, written_at
from blocks.reading.places import MAX_BYTES, unreadable
from blocks.reading.rows import Part, first_rows, last_rows
from blocks.untrusted import as_data

# What a row has to have, and what it may have.
NEEDED, WANTED = ("id", "text"), ("title", "sender", "at")


def read_message_rows(
    source: str, columns: Mapping[str, str], *, max_items: int = MOST_ITEMS, max_bytes: int = MAX_BYTES
) -> Found[Message]:
    """Rows, newest first where they are dated.

    Args:
        columns: id, text, title, sender, at -> the column's name in the file; what is not named is called so itself.

    Raises:
        BadInput: unreadable, empty, or without a column that is named or needed.
    """
    part = last_rows(source, max_bytes=max_bytes)
    rows = part.rows
    if not rows:
        raise unreadable(source, "it has a head and no rows")
    names = _names(source, list(rows[0]), columns)
    found, messages = Found[Message](), list[Message]()
    if part.is_cut:
        rows = _newest(source, part, names, max_bytes)
        found.problems.append(f"the older rows: of a file longer than {max_bytes} bytes (`max_bytes`) only a part")
    for place, row in enumerate(rows):
        if message := _message(row, names):
            messages.append(message)
        else:
            found.problems.append(f"row {place + 1}: nothing in the columns {', '.join(names.values())}")
    if not messages:
        raise unreadable(source, "no row of it says anything in the columns that are named")
    found.items = newest_first(distinct(messages))
    if (left := len(found.items) - max_items) > 0:
        found.items, found.problems = found.items[:max_items], [*found.problems, f"{left} older rows"]
    return found


def _newest(source: str, last: Part, names: Mapping[str, str], max_bytes: int) -> list[dict[str, str]]:
    """Of a file too long the end; where its rows go from new to old, the beginning."""
    dates = [at for row in (last.rows[0], last.rows[-1]) if (at := written_at(row.get(names.get("at", ""), "")))]
    is_downward = len(dates) == 2 and dates[0] > dates[1]
    return first_rows(source, max_bytes=max_bytes).rows if is_downward else last.rows


def _names(source: str, there: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Ours -> the file's, for those that are there."""
    named = {ours: name.strip().lower() for ours, name in columns.items()}
    needed = [named.get(ours, ours) for ours in NEEDED] + [named[ours] for ours in WANTED if ours in named]
    missing = [name for name in needed if name not in there]
    if missing:
        listed = ", ".join(as_data(name, 40) for name in there[:20])
        raise unreadable(source, f"it has no column {', '.join(missing)}; its columns are: {listed}")
    return {ours: named.get(ours, ours) for ours in (*NEEDED, *WANTED) if named.get(ours, ours) in there}


def _message(row: Mapping[str, str], names: Mapping[str, str]) -> Message | None:
    """A row as a message; one without an id gets one made of what it says, one that says nothing is none."""
    said = {ours: as_data(row[name]) for ours, name in names.items()}
    if not (said["text"] or said.get("title")):
        return None
    message = Message(
        id=said["id"][:80],
        title=(said.get("title") or said["text"][:60])[:200],
        text=said["text"],
        sender=said.get("sender", "")[:120],
        at=written_at(said.get("at", "")),
    )
    return message if message.id else message.model_copy(update={"id": f"no-id-{message.sha256[:12]}"})
