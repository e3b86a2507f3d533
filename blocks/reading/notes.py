"""Notes: a folder of markdown files, as passages (a paragraph, a list item, a cell) with their lines."""

import hashlib
import re

from markdown_it.token import Token

from blocks.reading.charsets import decoded
from blocks.reading.markdown_parts import is_dense, parser
from blocks.reading.places import files_in, locate, name_below, read_file, unreadable
from blocks.untrusted import as_data
from governor.errors import BadInput
from governor.policy.facts import Fact

SUFFIXES = frozenset({".md", ".markdown", ".txt"})
MOST_NOTES = 500
# A book has a megabyte; a parser takes some seconds for it.
NOTE_BYTES = 512 * 1024
# An embedding model reads 256 to 512 tokens at once; this many characters are at most 200 of them in English.
CHUNK_CHARACTERS = 600
MOST_CHUNKS = 20
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"(ÄÖÜ])")


class Passage(Fact):
    """Some words of a note that belong together."""

    line: int
    text: str

    @property
    def sentences(self) -> list[str]:
        """Its sentences."""
        return [part.strip() for part in SENTENCE_END.split(self.text) if part.strip()]


class Note(Fact):
    """A note. `id`: its path in the folder."""

    id: str
    title: str
    sha256: str
    passages: tuple[Passage, ...]

    @property
    def text(self) -> str:
        """All its words."""
        return " ".join([self.title, *(passage.text for passage in self.passages)])

    @property
    def chunks(self) -> list[str]:
        """Its words in pieces that a model reads at once, whole passages as far as they fit."""
        found = [self.title]
        for passage in self.passages:
            for start in range(0, len(passage.text), CHUNK_CHARACTERS):
                piece = passage.text[start : start + CHUNK_CHARACTERS]
                if len(found[-1]) + len(piece) + 1 <= CHUNK_CHARACTERS:
                    found[-1] += " " + piece
                else:
                    found.append(piece)
        return found[:MOST_CHUNKS]


class Notes(Fact):
    """All notes by path. `problems`: what is not among them, and why."""

    notes: tuple[Note, ...]
    problems: tuple[str, ...] = ()


def read_notes(source: str, *, max_bytes: int) -> Notes:
    """Every note below a folder.

    Raises:
        BadInput: there is none with words in it.
    """
    folder, notes, problems = locate(source), list[Note](), list[str]()
    paths = files_in(source, SUFFIXES, max_files=MOST_NOTES + 1)
    if len(paths) > MOST_NOTES:
        problems.append(f"only the first {MOST_NOTES} notes are read")
    for path in paths[:MOST_NOTES]:
        name = name_below(folder, path)
        try:
            raw = read_file(path, max_bytes=min(max_bytes, NOTE_BYTES) + 1)
            note = _note(name, raw[:-1] if (is_cut := len(raw) > min(max_bytes, NOTE_BYTES)) else raw)
        except (BadInput, RecursionError) as error:
            problems.append(f"{name}: {type(error).__name__}")
            continue
        if is_cut:
            problems.append(f"{name}: its end, it is too long")
        if note is None:
            problems.append(f"{name}: too many marks")
        elif note.passages:
            notes.append(note)
        else:
            problems.append(f"{name}: no words in it")
    if not notes:
        raise unreadable(source, "it holds no note with words in it")
    return Notes(notes=tuple(notes), problems=tuple(problems))


def _note(name: str, raw: bytes) -> Note | None:
    """None for what would take a parser long."""
    if is_dense(words := decoded(raw)):
        return None
    tokens = parser().parse(words)
    title, passages, heading = "", list[Passage](), False
    for token in tokens:
        if token.type != "inline":
            heading = token.type == "heading_open"
            continue
        text = as_data(_words(token), 4000)
        if heading and not title:
            title = text
        elif text:
            passages.append(Passage(line=token.map[0] + 1 if token.map else 0, text=text))
    return Note(id=name, title=title or name, sha256=hashlib.sha256(raw).hexdigest(), passages=tuple(passages))


def _words(token: Token) -> str:
    breaks = {"softbreak": " ", "hardbreak": " "}
    return "".join(breaks.get(child.type, child.content) for child in token.children or ())
