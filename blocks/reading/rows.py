"""Rows of CSV files, whatever their separator, always whole ones: those at the beginning, or those at the end.

Of what grows (logs, tickets) the end counts; what a table is worth of which a part is missing is for who reads it.
"""

import csv
import io
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from blocks.reading.places import locate, read_bytes, text_of, unreadable

MOST_ROWS = 200_000
ROW_SUFFIXES = frozenset({".csv", ".tsv"})
SEPARATORS = ",;\t|"
# The head of a file, with the names of its columns; of a longer line nobody made a table.
HEAD_BYTES = 64 * 1024
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Part:
    """Rows of a file, and whether others of it were left out."""

    rows: list[dict[str, str]]
    is_cut: bool


def read_rows(source: str | Path, *, max_bytes: int) -> list[dict[str, str]]:
    """The rows at the beginning of a file, each as column -> text, columns in lower case, '' for cells that lack.

    Whether it was read whole, and what follows from that, is for the caller (`first_rows`, `blocks.reading.cut`).

    Raises:
        BadInput: it cannot be read, or has no head.
    """
    return first_rows(str(source), max_bytes=max_bytes).rows


def first_rows(source: str, *, max_bytes: int) -> Part:
    """The rows at the beginning of a file, all of them whole.

    Raises:
        BadInput: it cannot be read, or has no head.
    """
    raw = read_bytes(source, max_bytes=max_bytes + 1)
    rows = rows_of(text_of(raw[:max_bytes], is_cut=len(raw) > max_bytes), source, most=MOST_ROWS + 1)
    if len(raw) > max_bytes:
        return Part(rows[:-1][:MOST_ROWS], is_cut=True)  # the last one may be half a row
    return Part(rows[:MOST_ROWS], is_cut=len(rows) > MOST_ROWS)


def last_rows(source: str, *, max_bytes: int) -> Part:
    """The rows at the end of a file; of a web address, which gives no end, those at the beginning.

    Raises:
        BadInput: it cannot be read, or has no head.
    """
    if source.lower().startswith(("http://", "https://")):
        return first_rows(source, max_bytes=max_bytes)
    path = locate(source)
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            head = file.read(HEAD_BYTES).partition(b"\n")[0]
            file.seek(max(0, size - max_bytes))
            tail = file.read(max_bytes)
    except OSError as error:
        raise unreadable(source, error.strerror or str(error)) from error
    if size <= max_bytes:
        rows = rows_of(text_of(tail), source, most=None)
    elif head.startswith(UTF_16):
        raise unreadable(source, f"it is UTF-16 and longer than {max_bytes} bytes (`max_bytes`)")
    else:
        rows = rows_of(text_of(head + b"\n" + _whole(tail)), source, most=None)
    return Part(rows[-MOST_ROWS:], is_cut=size > max_bytes or len(rows) > MOST_ROWS)


def _whole(tail: bytes) -> bytes:
    """The end of a file from the beginning of a row on; it may begin inside a cell in quotes that holds line breaks."""
    is_quoted = tail.count(b'"') % 2 == 1
    for mark in re.finditer(rb'["\n]', tail):
        if mark[0] == b'"':
            is_quoted = not is_quoted
        elif not is_quoted:
            return tail[mark.end() :]
    return b""


def rows_of(text: str, source: str, *, most: int | None = MOST_ROWS) -> list[dict[str, str]]:
    """The same of a text, at most so many rows, None for all.

    Raises:
        BadInput: it is no table.
    """
    plain = text.lstrip("\ufeff").replace("\0", "")
    head = plain.partition("\n")[0]
    separator = max(SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(plain, newline=""), delimiter=separator)
    try:
        rows = [row for row in islice(reader, None if most is None else most + 1) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise unreadable(source, f"it is no CSV: {error}") from error
    if not rows:
        raise unreadable(source, "it has no rows")
    columns = [cell.strip().lower() for cell in rows[0]]
    return [{name: _cell(row, index) for index, name in enumerate(columns) if name} for row in rows[1:]]


def require(rows: list[dict[str, str]], columns: tuple[str, ...], source: str) -> None:
    """Raise BadInput where a column is not there."""
    missing = [column for column in columns if not rows or column not in rows[0]]
    if missing:
        raise unreadable(source, f"it has no column {', '.join(missing)}" if rows else "it has a head and no rows")


def _cell(row: list[str], index: int) -> str:
    return row[index].strip() if index < len(row) else ""
