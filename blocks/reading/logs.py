"""Logs as records: the end of a file and what was rotated away before it, plain, gzip or a journal's JSON lines.

A record is a line and what belongs to it (a stack trace); which records are alike is `blocks.checking.clusters`.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from blocks.reading.charsets import decoded
from blocks.reading.places import locate, name_below, unreadable

CHUNK_BYTES = 1 << 20
# A gzip file is read through to its end, since only the end counts; what unpacks to more than this is a bomb.
MOST_UNPACKED_BYTES = 512 * 1024 * 1024
MOST_ROTATED, MOST_FILES = 20, 1000
LINE_CHARACTERS, MOST_LINES_OF_RECORD = 4000, 200
SUFFIXES = frozenset({".log", ".json", ".jsonl", ".ndjson", ".txt", ".gz"})
ROTATED = re.compile(r"\.([0-9]{1,4})(?:\.gz)?$|-([0-9]{8})(?:\.gz)?$")

# Lines that go on with the record before them: indented ones, and those of Python's and Java's traces.
GOES_ON = re.compile(
    r"[ \t]|Traceback \(most recent|Caused by: |During handling of|The above exception|\.\.\. [0-9]+ more"
    r"|[\w.]+(?:Error|Exception)\b(?:: |$)"
)
LEVELS = (
    ("critical", re.compile(r"\b(?:CRITICAL|FATAL|EMERG(?:ENCY)?|ALERT|PANIC|CRIT)\b")),
    ("error", re.compile(r"\b(?:ERROR|ERR|SEVERE)\b|\" 5[0-9]{2} ")),
    ("warning", re.compile(r"\b(?:WARNING|WARN)\b|\" 4[0-9]{2} ")),
)
HINTS = ("ERR", "WARN", "CRIT", "FATAL", "EMERG", "ALERT", "PANIC", "SEVERE", '" 4', '" 5')
# syslog's priorities, which a journal keeps: 0 emergency ... 7 debug (RFC 5424).
PRIORITIES = {"0": "critical", "1": "critical", "2": "critical", "3": "error", "4": "warning"}
INFO = "info"


@dataclass(frozen=True)
class Record:
    """A line of a log with what belongs to it. `level`: critical, error, warning or info."""

    text: str
    level: str
    more: tuple[str, ...] = ()


@dataclass(frozen=True)
class Log:
    """What was read. `cut`: lines were left out. `sha256`: of all that was read; `unread`: file -> why not."""

    records: list[Record]
    lines: int
    sha256: str
    cut: bool
    unread: dict[str, str]


def read_log(source: str, *, max_bytes: int) -> Log:
    """The end of a log, its rotated files (`.1`, `.2.gz`) and a folder's files included, oldest first.

    `max_bytes` are for all of it: files in use share them alike, what they leave goes to what was rotated away.

    Raises:
        BadInput: it does not exist, or nothing of it can be read.
    """
    paths = newest_first(source)
    pieces, unread, cut = _tails(paths[:MOST_FILES], max_bytes)
    top = locate(source)
    names = {path: name_below(top, path) for path in paths}
    if not pieces:
        raise unreadable(source, next(iter(unread.values()), "it holds no log"))
    read = [pieces[path] for path in reversed(paths) if path in pieces]
    raw = b"".join(piece if piece.endswith(b"\n") or not piece else piece + b"\n" for piece in read)
    lines = decoded(raw).replace("\x00", "").split("\n")
    told = [line.rstrip("\r")[:LINE_CHARACTERS] for line in lines if line.strip()]
    why = {names[path]: said for path, said in unread.items()} | dict.fromkeys(
        (names[path] for path in paths[MOST_FILES:]), f"there are more than {MOST_FILES} files"
    )
    return Log(list(records(told)), len(told), hashlib.sha256(raw).hexdigest(), cut or len(paths) > MOST_FILES, why)


def _tails(paths: Sequence[Path], max_bytes: int) -> tuple[dict[Path, bytes], dict[Path, str], bool]:
    """The end of each, why not of others, and whether anything was left out for want of room."""
    pieces, unread, cut, left = dict[Path, bytes](), dict[Path, str](), False, max_bytes
    for _, group in groupby(paths, key=_rotation):
        alike = sorted(group, key=_size)  # what a small one leaves of its share is for the larger ones
        for place, path in enumerate(alike):
            share = left // (len(alike) - place)
            if not share:
                unread[path], cut = f"no room within {max_bytes} bytes (`max_bytes`)", True
                continue
            try:
                pieces[path], was_cut = tail(path, share)
            except (OSError, zlib.error, EOFError) as error:
                unread[path] = str(error)
                continue
            cut = cut or was_cut
            left -= share if was_cut else len(pieces[path])
    return pieces, unread, cut


def _size(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_size, str(path)
    except OSError:
        return 0, str(path)


def newest_first(source: str) -> list[Path]:
    """The files of a log: those of a folder, or a file and what was rotated away from it."""
    top = locate(source)
    if top.is_dir():
        paths = [path for path in top.rglob("*") if path.is_file() and _is_log(path)]
        paths = [p for p in paths if p.resolve().is_relative_to(top.resolve())]
        return sorted(paths, key=lambda path: (_rotation(path), path.name))
    own = [p for p in top.parent.glob(f"{_glob_safe(top.name)}[.-]*") if ROTATED.search(p.name) and p.is_file()]
    beside = sorted((p for p in own if p.resolve().parent == top.resolve().parent), key=_rotation)
    return [top, *beside[:MOST_ROTATED]]


def _glob_safe(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def _is_log(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or ROTATED.search(path.name) is not None


def _rotation(path: Path) -> int:
    """0 for a file in use; of rotated ones the older the more."""
    found = ROTATED.search(path.name)
    if found is None:
        return 0
    return int(found[1]) if found[1] else 100_000_000 - int(found[2])


def tail(path: Path, max_bytes: int) -> tuple[bytes, bool]:
    """The last bytes of a file, from the beginning of a line, and whether older ones were left out.

    Raises:
        OSError, zlib.error, EOFError: unreadable, broken, or it unpacks to more than MOST_UNPACKED_BYTES.
    """
    if path.suffix == ".gz":
        raw, cut = _unpacked(path, max_bytes)
    else:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - max_bytes - 1))  # a byte more tells whether the first line is whole
            raw, cut = file.read(max_bytes + 1), size > max_bytes
    return (raw.partition(b"\n")[2] if cut else raw), cut


def _unpacked(path: Path, max_bytes: int) -> tuple[bytes, bool]:
    kept, total = bytearray(), 0
    stream = zlib.decompressobj(wbits=31)  # gzip
    with path.open("rb") as file:
        while packed := file.read(CHUNK_BYTES):
            while packed:
                piece = stream.decompress(packed, CHUNK_BYTES)
                packed = stream.unconsumed_tail
                total += len(piece)
                if total > MOST_UNPACKED_BYTES:
                    raise EOFError(f"it unpacks to more than {MOST_UNPACKED_BYTES} bytes")
                kept += piece
                if len(kept) > max_bytes + CHUNK_BYTES:
                    del kept[: len(kept) - max_bytes - 1]
                if stream.eof:  # another member may follow, as where two gzip files were joined
                    packed, stream = stream.unused_data, zlib.decompressobj(wbits=31)
                elif not packed:
                    break
    return bytes(kept[-max_bytes - 1 :]), total > max_bytes


def records(lines: Iterable[str]) -> Iterator[Record]:
    """Lines with what belongs to them; each line of a journal's JSON is one record."""
    head, more = "", list[str]()
    for line in lines:
        if head and line[0] not in "{0123456789" and GOES_ON.match(line):
            if len(more) < MOST_LINES_OF_RECORD:
                more.append(line.strip())
            continue
        if head:
            yield _record(head, more)
        head, more = line, []
    if head:
        yield _record(head, more)


def _record(head: str, more: list[str]) -> Record:
    if head[0] == "{" and (told := _journal(head)) is not None:
        return told
    return Record(head, _level(head), tuple(more))


def _level(line: str) -> str:
    if not any(hint in line for hint in HINTS):  # ten times as fast as the expressions, and most lines have none
        return INFO
    return next((name for name, pattern in LEVELS if pattern.search(line)), INFO)


def _journal(line: str) -> Record | None:
    """A line of a journal's export as JSON; None where it is none."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    message = told.get("MESSAGE", told.get("message", told.get("msg")))
    if isinstance(message, list):  # bytes that are no UTF-8
        message = bytes(b for b in message if isinstance(b, int) and 0 <= b < 256).decode("utf-8", "replace")
    if not isinstance(message, str) or not message.strip():
        return None
    unit = told.get("SYSLOG_IDENTIFIER") or told.get("_SYSTEMD_UNIT") or told.get("logger") or ""
    priority, level = str(told.get("PRIORITY", "")), str(told.get("level", ""))
    named = PRIORITIES.get(priority, INFO) if priority else _level(f"{level.upper()} {message}")
    first, *more = message.splitlines()
    return Record(
        f"{named.upper()} {unit}: {first}"[:LINE_CHARACTERS],
        named,
        tuple(m.strip() for m in more[:MOST_LINES_OF_RECORD]),
    )
