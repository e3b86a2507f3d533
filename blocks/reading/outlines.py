"""What a draft is made of: an outline's sections, notes, and the style that its owner wants."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blocks.fitting import within_tokens
from blocks.reading.items import Item
from blocks.reading.markdown_parts import parts_of
from blocks.reading.places import files_in, locate, name_below, read_text, unreadable
from blocks.untrusted import as_data

# An outline or a note is some pages; parsing a book of markdown takes many seconds.
MOST_BYTES = 512 * 1024
NOTE_SUFFIXES = frozenset({".md", ".txt"})
MOST_NOTES, NOTE_CHARACTERS, HEADING_CHARACTERS = 400, 1200, 120
# What a section is to say, beside the notes in the same prompt: 1,200 characters of English.
BRIEF_TOKENS = 350


class Style(BaseModel):
    """How somebody writes. `links` are the only addresses that a draft may hold beside those of its notes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: str = Field(default="plain and friendly", max_length=300)
    reader: str = Field(default="", max_length=200)
    banned: list[str] = Field(default_factory=list, max_length=200)
    links: list[str] = Field(default_factory=list, max_length=200)
    signature: str = Field(default="", max_length=400)
    ending: str = Field(default="", max_length=400)


class Outline(BaseModel):
    """A title and its sections: id and title of an Item are the heading, its text is what the section is to say."""

    model_config = ConfigDict(frozen=True)

    title: str
    sections: list[Item]


def read_style(source: str) -> Style:
    """A YAML file with voice, reader, banned, links, signature, ending; every key may be missing.

    Raises:
        BadInput: unreadable, or with keys that no style has.
    """
    text = read_text(source, max_bytes=MOST_BYTES)
    try:
        # An alias that names a list of aliases grows to gigabytes when it is shown; a style needs none.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise unreadable(source, "a style file holds no YAML aliases")
        return Style.model_validate(yaml.safe_load(text) or {})
    except (yaml.YAMLError, RecursionError) as error:
        raise unreadable(source, f"it is no YAML: {str(error)[:200]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise unreadable(source, f"{where}: {first['msg']}") from error


def read_outline(source: str, *, max_bytes: int = MOST_BYTES) -> Outline:
    """A markdown file: the first heading of level 1 is the title, each of level 2 a section.

    Args:
        max_bytes: most to read of it; more than `MOST_BYTES` is never read.

    Raises:
        BadInput: unreadable, or without sections.
    """
    parts = parts_of(read_text(source, max_bytes=min(max_bytes, MOST_BYTES)))
    title = next((part.heading for part in parts if part.level == 1), Path(source).stem)
    sections: dict[str, Item] = {}
    for part in parts:
        heading = as_data(part.heading, HEADING_CHARACTERS)
        if part.level == 2 and heading:
            sections.setdefault(
                heading, Item(id=heading, title=heading, text=within_tokens(as_data(part.text), BRIEF_TOKENS))
            )
    if not sections:
        raise unreadable(source, "it holds no section: a heading that begins with ##")
    return Outline(title=as_data(title, HEADING_CHARACTERS), sections=list(sections.values()))


def read_notes(source: str, *, max_bytes: int = MOST_BYTES) -> list[Item]:
    """Notes of a file or folder: one for each heading with text under it; the id says file, in the folder, and heading.

    Args:
        max_bytes: most to read of a file; more than `MOST_BYTES` is never read.

    Raises:
        BadInput: unreadable, or without notes.
    """
    notes: dict[str, Item] = {}
    top = locate(source)
    for path in files_in(source, NOTE_SUFFIXES):
        file = name_below(top, path)
        for part in parts_of(read_text(str(path), max_bytes=min(max_bytes, MOST_BYTES))):
            title = as_data(part.heading or path.stem, HEADING_CHARACTERS)
            text = as_data(_lines_as_sentences(part.text), NOTE_CHARACTERS)
            if text and len(notes) < MOST_NOTES:
                name = f"{file}: {title}"
                notes.setdefault(name, Item(id=name, title=title, text=text))
    if not notes:
        raise unreadable(source, "it holds no notes (.md or .txt with text in it)")
    return list(notes.values())


def _lines_as_sentences(text: str) -> str:
    """Lists as sentences, so that a note in one paragraph still says where each of its points ends."""
    lines = [line.strip().lstrip("-*+>").strip() for line in text.splitlines()]
    is_item = [line.lstrip().startswith(("-", "*", "+")) for line in text.splitlines()]
    return " ".join(
        f"{line}." if item and line and line[-1] not in ".!?:;" else line
        for line, item in zip(lines, is_item, strict=True)
    )
