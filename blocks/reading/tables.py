"""Tables of a database file (SQLite), of a CSV file, or of a folder of them; only the columns that rules speak of.

A database file from elsewhere is no friend: it is opened to read only, what its schema would run is not run (views
and virtual tables are not read), and it has a bounded time.
"""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from blocks.checking.data_quality import Column, Data, Table
from blocks.checking.settings import DataRule
from blocks.reading.places import MOST_NAMES, files_in, locate, unreadable
from blocks.reading.rows import MOST_ROWS, ROW_SUFFIXES, first_rows

SQLITE_MAGIC = b"SQLite format 3\0"
MOST_SECONDS = 20.0
MOST_CELL_BYTES = 1_000_000
# Steps of SQLite's machine between two looks at the clock: about a millisecond.
STEPS = 10_000


def read_tables(source: str, rules: Sequence[DataRule], *, max_bytes: int) -> Data:
    """What the rules speak of.

    Raises:
        BadInput: it cannot be read.
    """
    path = locate(source)
    wanted = _wanted(rules)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(16) == SQLITE_MAGIC:
                return _database(path, wanted, source)
    files = files_in(source, ROW_SUFFIXES, max_files=MOST_NAMES)
    if not files:
        raise unreadable(source, "it is no SQLite file, and there is no CSV file in it")
    tables = {file.stem: _csv(file, wanted[file.stem], max_bytes) for file in files if file.stem in wanted}
    return Data(tables=tables, notes=tuple(_cut_notes(tables)))


def _wanted(rules: Sequence[DataRule]) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for rule in rules:
        wanted.setdefault(rule.table, set()).update({rule.column} - {""})
        table, _, column = rule.references.partition(".")
        if column:
            wanted.setdefault(table, set()).add(column)
    return wanted


def _csv(path: Path, columns: set[str], max_bytes: int) -> Table:
    part = first_rows(str(path), max_bytes=max_bytes)
    there = [name for name in sorted(columns) if part.rows and name in part.rows[0]]
    read = {name: Column(values=tuple(row[name] or None for row in part.rows)) for name in there}
    return Table(rows=None if part.is_cut else len(part.rows), columns=read, is_cut=part.is_cut)


def _database(path: Path, wanted: dict[str, set[str]], source: str) -> Data:
    """`immutable`: nothing is written beside the file, not even a lock; what waits in its log is not seen."""
    ends_s = time.monotonic() + MOST_SECONDS
    address = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_CELL_BYTES)
            connection.set_progress_handler(lambda: int(time.monotonic() > ends_s), STEPS)
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            tables = dict(_tables(connection, wanted))
    except (sqlite3.Error, OverflowError) as error:
        raise unreadable(source, f"as a database: {error}") from error
    return Data(tables=tables, notes=tuple(_notes(path, tables)))


def _tables(connection: sqlite3.Connection, wanted: dict[str, set[str]]) -> Iterable[tuple[str, Table]]:
    plain = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    for (name,) in connection.execute(plain).fetchall():
        if name in wanted:
            there = {row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(name)})")}
            columns = sorted(wanted[name] & there)
            [(rows,)] = connection.execute(f"SELECT count(*) FROM {_quoted(name)}")
            read = {column: _column(connection, name, column) for column in columns}
            yield name, Table(rows=rows, columns=read, is_cut=rows > MOST_ROWS)


def _column(connection: sqlite3.Connection, table: str, column: str) -> Column:
    query = f"SELECT {_quoted(column)} FROM {_quoted(table)} LIMIT {MOST_ROWS}"
    return Column(values=tuple(_text(value) for (value,) in connection.execute(query)))


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _notes(path: Path, tables: dict[str, Table]) -> Iterable[str]:
    log = path.with_name(path.name + "-wal")
    if log.is_file() and log.stat().st_size:
        yield "The database is in use; what waits in its write-ahead log was not looked at."
    yield from _cut_notes(tables)


def _cut_notes(tables: dict[str, Table]) -> Iterable[str]:
    for name, table in sorted(tables.items()):
        if table.is_cut:
            looked_at = max((len(column.values) for column in table.columns.values()), default=0)
            yield f"Of the table {name} only the first {looked_at} rows were looked at."
