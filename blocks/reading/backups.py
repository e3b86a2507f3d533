"""Backups: a folder of files, or a list that somebody else made of them (CSV)."""

import hashlib
import re
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from blocks.checking.backups import BackupFile, Backups
from blocks.reading.cut import whole_rows
from blocks.reading.moments import moment
from blocks.reading.places import MOST_NAMES, locate, unreadable
from blocks.reading.rows import require

# A date, and a time after it, in a file's name: what tells the files of a set apart.
STAMP = re.compile(r"[-_.]?(\d{4})-?(\d\d)-?(\d\d)(?:[T_-]?(\d\d)[:-]?(\d\d)(?:[:-]?\d\d)?)?Z?")
SUMS = (".sha256", ".sha256sum")
MOST_FILES = 5000
# Reading one file through takes about a second for each 500 MB here; larger ones are checked by who makes them.
MOST_BYTES_TO_HASH = 256 * 1024 * 1024


def read_backups(source: str, *, max_bytes: int) -> Backups:
    """What is there.

    Raises:
        BadInput: it cannot be read, or there is no backup in it.
    """
    found = _folder(locate(source)) if locate(source).is_dir() else _listing(source, max_bytes)
    if not found.files:
        raise unreadable(source, "there is no backup in it")
    return found


def _listing(source: str, max_bytes: int) -> Backups:
    rows = whole_rows(source, max_bytes=max_bytes)
    require(rows, ("set", "file", "bytes", "written_at"), source)
    files, unread = list[BackupFile](), list[str]()
    for row in rows:
        at, count = moment(row["written_at"]), row["bytes"].replace("_", "").replace(" ", "")
        if at is None or not (count.isascii() and count.isdecimal()) or len(count) > 18 or not row["set"]:
            unread.append(row["file"] or row["set"] or "a row without a name")
            continue
        checksum = row.get("checksum", "") or "missing"
        files.append(BackupFile(set=row["set"], name=row["file"], bytes=int(count), at=at, checksum=checksum))
    listed = [at for row in rows if (at := moment(row.get("listed_at", "")))]
    return Backups(files=tuple(files), listed_at=max(listed, default=None), unreadable=tuple(unread))


def _folder(folder: Path) -> Backups:
    root, files, unread, notes = folder.resolve(), list[BackupFile](), list[str](), list[str]()
    paths = list(islice(folder.rglob("*"), MOST_NAMES))
    if len(paths) == MOST_NAMES:
        notes.append(f"The folder holds more than {MOST_NAMES} files; the others were not looked at.")
    paths = [path for path in paths if not path.name.startswith(".") and path.suffix not in SUMS and path.is_file()]
    if len(paths) > MOST_FILES:
        notes.append(f"Of {len(paths)} files the newest {MOST_FILES} were looked at.")
    for path in sorted(sorted(paths, key=_when, reverse=True)[:MOST_FILES]):
        if not path.resolve().is_relative_to(root):
            unread.append(f"{path.name} (it leads out of the folder)")
            continue
        try:
            files.append(_file(path, folder))
        except OSError:
            unread.append(path.name)
    return Backups(files=tuple(files), unreadable=tuple(unread), notes=tuple(notes))


def _when(path: Path) -> datetime:
    """By its name, else by when it was written."""
    try:
        return _dated(path.name) or datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):  # it went away, or its time is none
        return datetime.min.replace(tzinfo=UTC)


def _file(path: Path, folder: Path) -> BackupFile:
    stat, name = path.stat(), path.relative_to(folder).as_posix()
    written = datetime.fromtimestamp(stat.st_mtime, UTC)
    return BackupFile(
        set=STAMP.sub("", name, count=1).strip("-_.") or name,
        name=name,
        bytes=stat.st_size,
        at=_dated(path.name) or written,
        checksum=_checksum(path, stat.st_size),
    )


def _dated(name: str) -> datetime | None:
    """When a file is from by its name: copying changes the time of a file, not its name."""
    if (found := STAMP.search(name)) is None:
        return None
    year, month, day, hour, minute = (int(part or 0) for part in found.groups())
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError:
        return None


def _checksum(path: Path, size: int) -> str:
    beside = next((said for end in SUMS if (said := path.with_name(path.name + end)).is_file()), None)
    if beside is None:
        return "missing"
    if size > MOST_BYTES_TO_HASH:
        return "unread"
    with beside.open("rb") as file:
        wanted = file.read(64).decode("ascii", "replace").lower()
    with path.open("rb") as file:
        return "ok" if hashlib.file_digest(file, "sha256").hexdigest() == wanted else "wrong"
