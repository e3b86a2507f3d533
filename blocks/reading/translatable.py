"""What of a file is to be translated: the prose of markdown, block by block, and the values of a file of UI strings.

Code, front matter, tables, HTML and definitions of links stay as they are; so does a block that is too long.
"""

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from blocks.reading.items import Item
from blocks.reading.markdown_parts import parser, without_front_matter
from blocks.reading.places import unreadable
from governor.policy.tokens import estimated_tokens

# A block of more is no paragraph; it would not fit a small model's context twice.
MOST_CHARACTERS, MOST_TOKENS = 1500, 600
MOST_STRINGS = 2000
# Stands at the end of a block that stayed as it was.
UNTRANSLATED = "⟨not translated⟩"


class Unit(BaseModel):
    """A block or a string to translate.

    Attributes:
        item: id is `file:line` or `file:key`, text what is to be translated.
        begin, end: its lines in the file's body; of a string 0. prefix: what stands before it in its first line.
        key: of a string.
    """

    model_config = ConfigDict(frozen=True)

    item: Item
    begin: int = 0
    end: int = 0
    prefix: str = ""
    key: str = ""


def block_units(name: str, text: str) -> list[Unit]:
    """The paragraphs, headings and list items of a markdown file, in order."""
    front, body = without_front_matter(text)
    lines, offset = body.splitlines(), front.count("\n")
    units, in_table = [], False
    for token in parser().parse(body):
        if token.type in ("table_open", "table_close"):
            in_table = token.type == "table_open"
        if token.type != "inline" or in_table or not token.map:
            continue
        begin, end = token.map
        content = [line.strip() for line in token.content.splitlines()]
        first = lines[begin] if begin < len(lines) else ""
        at = first.find(content[0]) if content else -1
        whole = " ".join(content)
        if at < 0 or not _is_translatable(whole):
            continue
        # `Title` over `=====` is a heading of two lines, of which only the first is prose.
        end = begin + len(content)
        item = Item(id=f"{name}:{begin + offset + 1}", title=name, text=whole)
        units.append(Unit(item=item, begin=begin, end=end, prefix=first[:at]))
    return units


def with_blocks(text: str, said: Mapping[str, str], units: list[Unit]) -> str:
    """The file with other words in its blocks; every other line is as it was. `said`: id of a unit -> its words."""
    front, body = without_front_matter(text)
    lines = body.splitlines()
    for unit in reversed(units):
        if unit.item.id in said:
            lines[unit.begin : unit.end] = [f"{unit.prefix}{said[unit.item.id]}"]
    return front + "\n".join(lines) + "\n"


def string_units(name: str, text: str) -> list[Unit]:
    """The values of a flat JSON object of strings, by its keys.

    Raises:
        BadInput: it is none.
    """
    strings = strings_of(name, text)
    return [
        Unit(item=Item(id=f"{name}:{key}", title=key, text=value), key=key)
        for key, value in strings.items()
        if _is_translatable(value)
    ]


def _is_translatable(text: str) -> bool:
    return any(map(str.isalpha, text)) and len(text) <= MOST_CHARACTERS and estimated_tokens(text) <= MOST_TOKENS


def strings_of(name: str, text: str) -> dict[str, str]:
    """A flat JSON object of strings."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise unreadable(name, f"it is no JSON ({type(error).__name__})") from error
    if not isinstance(read, dict) or len(read) > MOST_STRINGS or not all(isinstance(v, str) for v in read.values()):
        raise unreadable(name, "it is no flat JSON object of strings")
    return read


def shape(text: str) -> tuple[object, ...]:
    """What a translation leaves as it is: headings, list items, code, links, images, HTML; equal for equal shapes."""
    counts: dict[str, int] = {}
    kept: list[str] = []
    for token in parser().parse(without_front_matter(text)[1]):
        counts[f"{token.type} {token.tag}"] = counts.get(f"{token.type} {token.tag}", 0) + 1
        if token.type in ("fence", "code_block", "html_block"):
            kept.append(token.content)
        for child in token.children or []:
            if child.type in ("code_inline", "html_inline"):
                kept.append(child.content)
            kept += [str(value) for key, value in child.attrs.items() if key in ("href", "src")]
    return tuple(sorted(counts.items())), tuple(sorted(kept))
