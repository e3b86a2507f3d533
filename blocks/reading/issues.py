"""Issues of a tracker, as its JSON export has them: a list of objects with number, title and body."""

import json
from typing import Any

from blocks.reading.charsets import decoded
from blocks.reading.found import MOST_ITEMS, Found, Message, distinct, newest_first, written_at
from blocks.reading.places import MAX_BYTES, read_bytes, unreadable
from blocks.untrusted import as_data


def read_issues(source: str, *, max_items: int = MOST_ITEMS, max_bytes: int = MAX_BYTES) -> Found[Message]:
    """Newest issues first; one that is none is named among the problems.

    Raises:
        BadInput: unreadable, or no such list.
    """
    raw = read_bytes(source, max_bytes=max_bytes + 1)
    if len(raw) > max_bytes:
        raise unreadable(source, f"it is longer than {max_bytes} bytes (`max_bytes`), and half a JSON file is none")
    try:
        rows = json.loads(decoded(raw))
    except (ValueError, RecursionError) as error:
        raise unreadable(source, f"it is no JSON list of issues ({type(error).__name__})") from error
    rows = rows.get("issues", rows.get("items")) if isinstance(rows, dict) else rows
    if not isinstance(rows, list):
        raise unreadable(source, "it is no JSON list of issues with number, title and body")
    found, issues = Found[Message](), list[Message]()
    for place, row in enumerate(rows):
        try:
            issues.append(_issue(row))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            found.problems.append(f"entry {place + 1}: no issue with number and title ({type(error).__name__})")
    if not issues:
        raise unreadable(source, "it is no JSON list of issues with number, title and body, or holds none")
    found.items = newest_first(distinct(issues))[:max_items]
    return found


def _issue(row: Any) -> Message:
    [number, *_] = [str(row[name]) for name in ("number", "iid", "id", "key") if row.get(name) is not None]
    user = row.get("user") or row.get("author") or {}
    return Message(
        id=f"#{as_data(number, 60)}",
        title=as_data(str(row["title"]), 200),
        text=as_data(str(row.get("body") or row.get("description") or "")),
        at=written_at(str(row.get("created_at") or "")),
        sender=as_data(str(user.get("login") or user.get("username") or ""), 80),
    )
