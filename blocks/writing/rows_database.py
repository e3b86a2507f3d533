"""Rows that grow over the runs of an agent: its earlier SQLite file and new rows in, a new file out.

Same rows, same bytes: no clock in it, written in one go. Where the file goes is the frame's business.
"""

import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

# Rows that are kept; the first ones written go first.
MOST_ROWS = 5000
# No file of so many rows of ours is larger.
MOST_BYTES = 64 * 1024 * 1024
TABLE = "rows"


@dataclass(frozen=True)
class Rows:
    """All rows that are kept, by the order of their first writing. `anew`: why an earlier file does not count."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    anew: str = ""

    def database(self) -> bytes:
        """As the bytes of a SQLite file with the table `rows`, the first column its key."""
        listed = ", ".join(f'"{name}" TEXT NOT NULL' for name in self.columns)
        with tempfile.TemporaryDirectory(prefix="rows-") as folder:
            path = Path(folder, "rows.sqlite")
            with closing(sqlite3.connect(path)) as database, database:
                database.execute(f'CREATE TABLE {TABLE} ({listed}, PRIMARY KEY ("{self.columns[0]}"))')
                marks = ", ".join("?" for _ in self.columns)
                database.executemany(f"INSERT INTO {TABLE} VALUES ({marks})", self.rows)
            return path.read_bytes()


def grown(earlier: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], *, most: int = MOST_ROWS) -> Rows:
    """The earlier rows with the new ones: the same key is the same row, and the last `most` are kept."""
    before, anew = _read(earlier, columns)
    kept = {row[0]: row for row in before}
    for row in rows:
        told = tuple("" if value is None else str(value) for value in row)
        kept[told[0]] = told
    return Rows(tuple(columns), tuple(kept.values())[-most:], anew)


def _read(path: Path, columns: Sequence[str]) -> tuple[list[tuple[str, ...]], str]:
    """What stands there, and why it does not count."""
    if not path.is_file():
        return [], ""
    if path.stat().st_size > MOST_BYTES:
        return [], f"it was larger than {MOST_BYTES} bytes"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            listed = ", ".join(f'"{name}"' for name in columns)
            if [told[1] for told in database.execute(f"PRAGMA table_info({TABLE})")] != list(columns):
                return [], "its columns were other ones"
            found = database.execute(f"SELECT {listed} FROM {TABLE} ORDER BY rowid LIMIT ?", (MOST_ROWS,)).fetchall()
            return [tuple(str(value) for value in row) for row in found], ""
    except sqlite3.Error as error:
        return [], f"it could not be read ({error})"
