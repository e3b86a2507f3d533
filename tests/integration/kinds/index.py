"""What must hold of an index's outputs, recomputed from the samples."""

import math
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from blocks.checking.vectors import from_blob
from blocks.reading.notes import read_notes
from blocks.reading.tickets import read_tickets

NOTES, TICKETS = "flows/samples/notes", "flows/samples/tickets.csv"
MOST_BYTES = 4_194_304


def check(folder: Path, day: str) -> None:
    """By what the folder holds: an index of notes, questions of customers, or a glossary."""
    page = (folder / f"{day}.md").read_text()
    if (folder / "index.sqlite").is_file():
        _notes(folder)
    elif "Asked in" in page:
        _faq(page)
    else:
        _glossary(page)


def _notes(folder: Path) -> None:
    wanted = {note.id: note.sha256 for note in read_notes(NOTES, max_bytes=MOST_BYTES).notes}
    with closing(sqlite3.connect(folder / "index.sqlite")) as database:
        assert dict(database.execute("SELECT id, sha256 FROM notes")) == wanted
        blobs = [blob for (blob,) in database.execute("SELECT vector FROM chunks WHERE vector IS NOT NULL")]
    vectors = [from_blob(blob) for blob in blobs]
    assert len({len(vector) for vector in vectors}) <= 1
    assert all(math.isclose(math.hypot(*vector), 1.0, abs_tol=1e-3) for vector in vectors)


def _faq(page: str) -> None:
    tickets = {ticket.id: ticket for ticket in read_tickets(TICKETS, max_bytes=MOST_BYTES).tickets}
    for section in page.split("\n## ")[1:]:
        if "Asked in" in section:
            ids = re.findall(r"T-\d+", section.split("Asked in")[1])
            assert len(ids) >= 2
            assert any(section.split("\n")[0] in f"{tickets[i].subject} {tickets[i].body}" for i in ids)


def _glossary(page: str) -> None:
    text = " ".join(note.text for note in read_notes(NOTES, max_bytes=MOST_BYTES).notes)
    lines = [line for line in page.splitlines() if line.startswith("- **")]
    assert lines
    for line in lines:
        parts = re.match(r"- \*\*.+?\*\*: (.+) Used in (.+?)\. \*\(", line)
        assert parts is not None
        assert parts[1] in text
        assert len(parts[2].split(", ")) >= 2
