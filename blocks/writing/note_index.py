"""The index of notes as a database file: made anew in memory, written whole by the run, read back at the next one.

The same notes and vectors give the same bytes.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from blocks.checking.vectors import as_blob, from_blob
from blocks.reading.notes import Note
from blocks.writing.outputs import sha256_of

FILE = "index.sqlite"
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (id TEXT PRIMARY KEY, title TEXT NOT NULL, sha256 TEXT NOT NULL, chunks_sha256 TEXT NOT NULL)
    WITHOUT ROWID;
CREATE TABLE chunks (note TEXT NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL, vector BLOB,
                     PRIMARY KEY (note, number)) WITHOUT ROWID;
CREATE VIRTUAL TABLE search USING fts5 (note UNINDEXED, text);
"""


class Embedded(BaseModel):
    """A note's vectors, one a chunk. `sha256`: of the chunks that they were made of."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    vectors: list[list[float]]

    def is_of(self, note: Note) -> bool:
        """Whether they are those of the note as it is now, cut into chunks as it is now."""
        return self.sha256 == sha256_of(note.chunks) and len(self.vectors) == len(note.chunks)


def index_bytes(notes: Sequence[Note], embedded: Mapping[str, Embedded], model: str) -> bytes:
    """The file. Notes without vectors are in it too: their words can be searched."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA)
        database.execute("INSERT INTO meta VALUES ('model', ?)", (model,))
        for note in sorted(notes, key=lambda note: note.id):
            row = (note.id, note.title, note.sha256, sha256_of(note.chunks))
            database.execute("INSERT INTO notes VALUES (?, ?, ?, ?)", row)
            known = embedded.get(note.id)
            vectors = known.vectors if known and known.is_of(note) else [None] * len(note.chunks)
            for number, (text, vector) in enumerate(zip(note.chunks, vectors, strict=True)):
                blob = as_blob(vector) if vector else None
                database.execute("INSERT INTO chunks VALUES (?, ?, ?, ?)", (note.id, number, text, blob))
                database.execute("INSERT INTO search VALUES (?, ?)", (note.id, text))
        database.commit()
        return database.serialize()


def read_index(folder: Path) -> tuple[str, dict[str, Embedded]]:
    """Its model and the vectors by note; nothing where there is no index, or one that cannot be read."""
    path = folder / FILE
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            [(model,)] = database.execute("SELECT value FROM meta WHERE key = 'model'").fetchall()
            rows = database.execute(
                "SELECT notes.id, chunks_sha256, vector FROM notes JOIN chunks ON note = notes.id "
                "ORDER BY notes.id, number"
            ).fetchall()
    except (sqlite3.Error, ValueError):
        return "", {}
    found: dict[str, Embedded] = {}
    for note, digest, blob in rows:
        vectors = [*found[note].vectors] if note in found else []
        found[note] = Embedded(sha256=digest, vectors=[*vectors, from_blob(blob or b"")])
    return model, {note: kept for note, kept in found.items() if all(kept.vectors)}
