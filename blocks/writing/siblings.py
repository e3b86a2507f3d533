"""Names of files that stand beside others: flat, plain, never hidden, never twice, never the page's own. Pure."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

# Shorter than any file system's limit (255 bytes), with room for a suffix.
MOST_CHARACTERS = 100
# Devices on Windows, whatever their suffix.
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))})


def sibling_names(paths: Iterable[str], suffix: str) -> dict[str, str]:
    """Path of a source in its folder -> name of its sibling: `guide/start.md` with `.de.md` is `guide--start.de.md`.

    What two paths would share gets a number, in the order of the paths.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        stem, number = _stem(path), 1
        name = f"{stem}{suffix}"
        while name.lower() in taken:
            number += 1
            name = f"{stem}~{number}{suffix}"
        taken.add(name.lower())
        names[path] = name
    return names


def _stem(path: str) -> str:
    """Folders and name in one, of letters, digits, dots and dashes."""
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    whole = "--".join(parts)
    stem = whole[: whole.rfind(".")] if "." in whole.rpartition("--")[2][1:] else whole
    plain = re.sub(r"[^\w.~-]+", "-", stem).strip(".-~")[:MOST_CHARACTERS].strip(".-~")
    return f"file-{plain}" if not plain or plain.lower() in RESERVED else plain
