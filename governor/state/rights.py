"""Why this user may not write a database, and whose it is: in words for the person who started it. Changes nothing."""

import os
from pathlib import Path

from governor.errors import NotReady


def refused(path: Path) -> NotReady | None:
    """The error of a database that the rights of its file or folder keep from this user; None when they do not."""
    keeper = _keeper(path)
    if keeper is None:
        return None
    if keeper.stat().st_uid == os.geteuid():
        said, remedy = "is read-only", "Make it writable, or set HOTDESK_HOME to another folder."
    else:
        said, remedy = f"belongs to {_owner(keeper)}", "Set HOTDESK_HOME to a folder of your own."
    return NotReady(
        f"The state database {path} cannot be written by this user: {keeper} {said}.",
        means="Nothing was changed.",
        remedy=remedy,
    )


def _keeper(path: Path) -> Path | None:
    """What is in the way: the folder, where SQLite keeps more files beside it, the file, or a folder further up."""
    near = next(place for place in (path, *path.parents) if os.access(place, os.F_OK))
    places = (path.parent, path) if near == path else (near,)
    return next((place for place in places if not _writable(place)), None)


def _writable(place: Path) -> bool:
    wanted = os.R_OK | os.W_OK | (os.X_OK if place.is_dir() else 0)
    return os.access(place, wanted, effective_ids=os.access in os.supports_effective_ids)


def _owner(place: Path) -> str:
    try:
        return place.owner()
    except (KeyError, OSError):  # a user that this container does not know by name
        return f"user {place.stat().st_uid}"
