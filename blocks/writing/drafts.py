"""Drafts as files: front matter, pieces under their headings, and whose words each is. Pure, but for reading one's own.

A draft is for somebody to read, correct and send; nothing here sends.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict

from blocks.checking.drafts import Form
from blocks.checking.prose import first_sentence
from blocks.reading.pieces import Piece
from blocks.writing.markdown import byline, cell, table
from governor.answers import Answer

DRAFT = re.compile(r"^draft-(\d{4}-\d\d-\d\d)\.md$")
# Of an earlier draft; ours are a few pages.
MOST_BYTES = 256 * 1024
NOT_YET = "*Not drafted: this run had room for fewer pieces.*"
NO_QUOTE = "(nothing of it can be quoted)"
NO_NOTES = "*Not drafted: no note speaks of this.*"


class Written(BaseModel):
    """A piece as it stands in the draft: its heading, the model's or the stand-in's words, and by whom they are."""

    model_config = ConfigDict(frozen=True)

    heading: str
    text: str
    by: str
    cites: str = ""
    is_model: bool = False


def written(form: Form, piece: Piece, answer: Answer | None) -> Written:
    """A piece with its answer; where none passed, what code finds in its source stands in and says so."""
    heading, cites = cell(piece.item.title), piece.cites
    if answer is not None and answer.verified:
        said = str(answer.data) if piece.choices else " ".join(answer.text.split())
        text = piece.text(piece.says.get(said, said))
        return Written(heading=heading, text=text, by=byline(answer), cites=cites, is_model=True)
    if not piece.item.text:
        return Written(heading=heading, text=NO_NOTES, by="nobody", cites=cites)
    return Written(heading=heading, text=piece.text(_stand_in(form, piece)), by="by rules only", cites=cites)


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
        "title": title,
        "form": form.value,
        "status": "draft",
        "due": due,
        "pieces": [{"heading": piece.heading, "words": piece.by} for piece in pieces],
    }
    return f"---\n{yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=1000)}---\n"


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
    days = sorted((found[1] for p in folder.glob("draft-*.md") if (found := DRAFT.match(p.name))), reverse=True)
    drafts = []
    for day in [day for day in days if day < before][:most]:
        path = folder / f"draft-{day}.md"
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                text = file.read(MOST_BYTES).decode("utf-8", "replace")
            drafts.append((day, re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL)))
    return drafts


def headings_of(drafts: Sequence[tuple[str, str]]) -> set[str]:
    """The pieces that were drafted in these."""
    return {line.removeprefix("## ").strip() for _, text in drafts for line in text.splitlines() if line[:3] == "## "}
