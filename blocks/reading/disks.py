"""Disks: asked of the system, or read from a list (CSV: path, total_bytes, free_bytes, files)."""

import os
from collections.abc import Sequence
from pathlib import Path

from blocks.checking.disks import Disk
from blocks.reading.cut import whole_rows
from blocks.reading.places import CHECKOUT, unreadable
from blocks.reading.rows import require

COLUMNS = ("path", "total_bytes", "free_bytes")
LIST = "disks.csv"


def measured(paths: Sequence[str]) -> list[Disk]:
    """Of the disks on which these paths lie; what an ordinary user may still write counts as free.

    Raises:
        BadInput: one of them does not exist.
    """
    found = []
    for path in paths:
        try:
            stat = os.statvfs(CHECKOUT / Path(path).expanduser())
        except OSError as error:
            raise unreadable(path, error.strerror or str(error)) from error
        room = {"total_bytes": stat.f_blocks * stat.f_frsize, "free_bytes": stat.f_bavail * stat.f_frsize}
        found.append(Disk(path=path, **room, total_files=stat.f_files, free_files=stat.f_favail))
    return found


def listed(path: Path, *, max_bytes: int) -> list[Disk]:
    """Of a list; a cell that is no number counts as zero, which the check calls senseless.

    Raises:
        BadInput: it is no such list.
    """
    rows = whole_rows(str(path), max_bytes=max_bytes)
    require(rows, COLUMNS, path.name)
    return [
        Disk(
            path=row["path"],
            total_bytes=_count(row["total_bytes"]),
            free_bytes=_count(row["free_bytes"]),
            total_files=_count(row.get("total_files", "")),
            free_files=_count(row.get("free_files", "")),
        )
        for row in rows
    ]


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0
