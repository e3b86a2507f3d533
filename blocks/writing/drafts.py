"""Drafts as files: front matter, pieces under their headings, and whose words each is. Pure, but for reading one's own.

A draft is for somebody to read, correct and send; nothing here sends.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from blocks.checking.drafts import Form
from blocks.checking.prose import first_sentence
from blocks.reading.pieces import HEADING, Piece
from blocks.untrusted import as_data
from blocks.writing.markdown import BY_RULES, byline, cell, table
from blocks.writing.outputs import read_provenance, sha256
from blocks.writing.safe_markdown import tame
from governor.answers import Answer

DRAFT = re.compile(r"^draft-(\d{4}-\d\d-\d\d)\.md$")
# Of an earlier draft; ours are a few pages.
MOST_BYTES = 256 * 1024
FRONT_BYTES = 64 * 1024
# A post a day for three years; an outline has 400 sections at most.
MOST_DRAFTS = 1000
BY_NOBODY = "nobody"
FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
NOT_YET = "*Not drafted: this run had room for fewer pieces.*"
NO_QUOTE = "(nothing of it can be quoted)"
NO_NOTES = "*Not drafted: no note speaks of this.*"


class Written(BaseModel):
    """A piece as it stands in the draft: its heading, the model's or the stand-in's words, and by whom they are.

    Attributes:
        name: what it is called in the front matter, plain. to: whom a reply goes to.
        is_sound: whether it can be sent as it is: a model's words passed, or there was nothing for a model to choose.
    """

    model_config = ConfigDict(frozen=True)

    heading: str
    text: str
    by: str
    name: str = ""
    to: str = ""
    cites: str = ""
    is_model: bool = False
    is_sound: bool = False


def written(form: Form, piece: Piece, answer: Answer | None) -> Written:
    """A piece with its answer; where none passed, what code finds in its source stands in and says so."""
    title = f"{piece.item.title} (to {piece.to})" if piece.to else piece.item.title
    told = Written(heading=cell(title), name=plain_name(title), to=piece.to, cites=piece.cites, text="", by=BY_NOBODY)
    if answer is not None and answer.verified:
        said = str(answer.data) if piece.choices else " ".join(answer.text.split())
        text = piece.text(piece.says.get(said, said))
        return told.model_copy(update={"text": text, "by": byline(answer), "is_model": True, "is_sound": True})
    if not piece.item.text:
        return told.model_copy(update={"text": NO_NOTES})
    is_sound = form is Form.REPLIES and len(piece.choices) == 1
    text = piece.text(_stand_in(form, piece))
    return told.model_copy(update={"text": text, "by": BY_RULES, "is_sound": is_sound})


def plain_name(title: str) -> str:
    """A title as the front matter has it: one line in which nothing is active."""
    return tame(as_data(title, 3 * HEADING), links=frozenset())


def _stand_in(form: Form, piece: Piece) -> str:
    """The nearest note, the first sentence that may be quoted, the product's name, the notes' first sentence."""
    if form is Form.PRODUCT_COPY:
        return piece.item.title
    if form in (Form.REPLIES, Form.FAQ_ANSWERS):
        first = next(iter(piece.choices), NO_QUOTE)
        return piece.says.get(first, first)
    return first_sentence(piece.item.text)


def front_matter(title: str, form: Form, due: str, pieces: Sequence[Written]) -> str:
    """Title, form, when it is wanted, that it is a draft, and whose words each piece is."""
    said = {
        "title": plain_name(title),
        "form": form.value,
        "status": "draft",
        "due": due,
        "pieces": [_front_of(piece) for piece in pieces],
    }
    return f"---\n{yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def _front_of(piece: Written) -> dict[str, str]:
    to = {"to": plain_name(piece.to)} if piece.to else {}
    return {"heading": piece.name, **to, "words": piece.by}


def body(title: str, pieces: Sequence[Written], ending: str) -> str:
    """The draft itself: a heading for each piece, in the outline's order."""
    parts = [f"# {cell(title)}", *(f"## {piece.heading}\n\n{piece.text}" for piece in pieces), ending]
    return "\n\n".join(part for part in parts if part) + "\n"


def overview(pieces: Sequence[Written], note: str) -> str:
    """What a reader checks first: each piece, how long it is, by whom, and where it comes from."""
    rows: list[list[object]] = [[piece.heading, len(piece.text), piece.by, piece.cites] for piece in pieces]
    mine = sum(piece.is_model for piece in pieces)
    head = f"{len(pieces)} pieces, {mine} in a model's words. {note}\n\n"
    return head + table(["piece", "characters", "words", "from"], rows)


def earlier_drafts(folder: Path, *, before: str, most: int) -> list[tuple[str, str]]:
    """(day, text) of one's own latest drafts of days before this one, the newest first."""
    return [(day, FRONT.sub("", text, count=1)) for day, text in _drafts(folder, before, most, MOST_BYTES)]


def drafted(folder: Path, *, before: str) -> set[str]:
    """Names of the pieces that stand in drafts of days before this one in a model's words; a stand-in is no draft."""
    names: set[str] = set()
    for _, text in _drafts(folder, before, MOST_DRAFTS, FRONT_BYTES):
        front = FRONT.match(text)
        try:
            pieces = yaml.safe_load(front[1])["pieces"] if front else []
            names |= {str(one["heading"]) for one in pieces if one["words"] not in (BY_RULES, BY_NOBODY)}
        except (yaml.YAMLError, KeyError, TypeError):  # its owner wrote in it; what is there was drafted
            names |= {line.removeprefix("## ").strip() for line in text.splitlines() if line.startswith("## ")}
    return names


def _drafts(folder: Path, before: str, most: int, most_bytes: int) -> Iterator[tuple[str, str]]:
    """(day, beginning of the file), the newest first."""
    days = sorted((found[1] for p in folder.glob("draft-*.md") if (found := DRAFT.match(p.name))), reverse=True)
    for day in [day for day in days if day < before][:most]:
        path = folder / f"draft-{day}.md"
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                yield day, file.read(most_bytes).decode("utf-8", "replace")


def free_name(folder: Path, day: str, text: str) -> str:
    """What the draft of that day is called: another name where its owner wrote in the one that lies there."""
    name = f"draft-{day}.md"
    path, before = folder / name, read_provenance(folder, day)
    if not path.is_file() or path.is_symlink():
        return name
    found = sha256(path.read_bytes())
    is_ours = found == sha256(text) or (before is not None and before.files.get(name) == found)
    return name if is_ours else f"draft-{day}.new.md"
