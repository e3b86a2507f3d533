"""Rows of CSV files, whatever their separator; what cannot be read is said."""

import csv
import io
from pathlib import Path

from blocks.reading.places import read_text, unreadable

MOST_ROWS = 200_000
SEPARATORS = ",;\t|"


def read_rows(source: str | Path, *, max_bytes: int) -> list[dict[str, str]]:
    """Each row as column -> text, columns in lower case; a row with too few cells has '' for the rest.

    Raises:
        BadInput: it cannot be read, or has no head.
    """
    return rows_of(read_text(str(source), max_bytes=max_bytes), str(source))


def rows_of(text: str, source: str) -> list[dict[str, str]]:
    """The same of a text."""
    plain = text.lstrip("\ufeff").replace("\0", "")
    head = plain.partition("\n")[0]
    separator = max(SEPARATORS, key=head.count)
    reader = csv.reader(io.StringIO(plain, newline=""), delimiter=separator)
    try:
        rows = [row for row, _ in zip(reader, range(MOST_ROWS), strict=False) if any(cell.strip() for cell in row)]
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
