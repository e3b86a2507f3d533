"""Rows that grow over the runs of an agent: its earlier SQLite file and new rows in, a new file out.

Same rows, same bytes: no clock in it, written in one go. Where the file goes is the frame's business.
"""

import hashlib
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
TABLE, SOURCE = "rows", "source"
# sha256 of a source's name, the day on which its rows were begun anew, and why; '' where that is unknown.
Source = tuple[str, str, str]
UNKNOWN = ("", "", "")


@dataclass(frozen=True)
class Rows:
    """All rows that are kept, by the order of their first writing.

    Attributes:
        anew: why an earlier file does not count, on the day that it was found not to. source: of what the rows are.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    anew: str = ""
    source: Source = UNKNOWN

    def database(self) -> bytes:
        """As the bytes of a SQLite file with the table `rows`, the first column its key, and one of their source."""
        listed = ", ".join(f'"{name}" TEXT NOT NULL' for name in self.columns)
        with tempfile.TemporaryDirectory(prefix="rows-") as folder:
            path = Path(folder, "rows.sqlite")
            with closing(sqlite3.connect(path)) as database, database:
                database.execute(f'CREATE TABLE {TABLE} ({listed}, PRIMARY KEY ("{self.columns[0]}"))')
                marks = ", ".join("?" for _ in self.columns)
                database.executemany(f"INSERT INTO {TABLE} VALUES ({marks})", self.rows)
                database.execute(f"CREATE TABLE {SOURCE} (sha256 TEXT, begun_anew TEXT, why TEXT)")
                database.execute(f"INSERT INTO {SOURCE} VALUES (?, ?, ?)", self.source)
            return path.read_bytes()


@dataclass(frozen=True)
class Of:
    """What rows are of.

    Attributes:
        source: what was read; rows of another source are begun anew. day: of this run.
        column, replaced: rows whose column says one of these are gone unless they come again.
    """

    source: str = ""
    day: str = ""
    column: str = ""
    replaced: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """Of the source's name, which is nobody else's business."""
        return hashlib.sha256(self.source.encode("utf-8", "replace")).hexdigest() if self.source else ""


def grown(
    earlier: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    of: Of | None = None,
    most: int = MOST_ROWS,
) -> Rows:
    """The earlier rows with the new ones: the same key is the same row in its place, and the last `most` are kept."""
    of = of or Of()
    before, anew, (_, since, why) = _read(earlier, columns, of.digest)
    told = {str(row[0]): tuple("" if value is None else str(value) for value in row) for row in rows}
    place = columns.index(of.column) if of.column else 0
    kept = {row[0]: row for row in before if row[0] in told or row[place] not in of.replaced} | told
    since, why = (of.day, anew) if anew else (since, why)
    # A later run of the same day says it again, since it writes the same page.
    said = why if since == of.day else ""
    return Rows(tuple(columns), tuple(kept.values())[-most:], said, (of.digest, since, why))


def _read(path: Path, columns: Sequence[str], source: str) -> tuple[list[tuple[str, ...]], str, Source]:
    """What stands there, why it does not count, and what it says of its source."""
    if not path.is_file():
        return [], "", UNKNOWN
    if path.stat().st_size > MOST_BYTES:
        return [], f"it was larger than {MOST_BYTES} bytes", UNKNOWN
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            listed, before = ", ".join(f'"{name}"' for name in columns), _source(database)
            if before[0] not in ("", source):
                return [], "they were of another source", UNKNOWN
            if [told[1] for told in database.execute(f"PRAGMA table_info({TABLE})")] != list(columns):
                return [], "its columns were other ones", UNKNOWN
            found = database.execute(f"SELECT {listed} FROM {TABLE} ORDER BY rowid LIMIT ?", (MOST_ROWS,)).fetchall()
            return [tuple(str(value) for value in row) for row in found], "", before
    except sqlite3.Error as error:
        return [], f"it could not be read ({error})", UNKNOWN


def _source(database: sqlite3.Connection) -> Source:
    """sha256 of the source's name, when its rows were begun anew, and why; UNKNOWN where it does not say."""
    if not database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (SOURCE,)).fetchone():
        return UNKNOWN
    found = database.execute(f"SELECT sha256, begun_anew, why FROM {SOURCE}").fetchone()
    return (str(found[0]), str(found[1]), str(found[2])) if found else UNKNOWN
