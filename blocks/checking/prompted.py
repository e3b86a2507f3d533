"""The rules of an agent that is only a prompt: what is asked about an item, and when an answer stands. Pure.

The flow reads, asks and writes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from blocks.checking.prose import Check, all_of, length, no_new_links, no_new_numbers, words_from
from blocks.untrusted import fence

# A field of a form; a longer one is a paragraph that the model copied.
MOST_FIELD_CHARACTERS = 120
# Letters of scripts that put no blanks between words; a value there may begin and end anywhere.
UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"


def filled(question: str, *, title: str, text: str) -> str:
    """The question about one item; a question that names neither $title nor $text gets the text after it, fenced."""
    template = Template(question)
    if not {"title", "text"} & set(template.get_identifiers()):
        whole = text if title in text else f"{title}\n{text}"
        return f"{question.strip()}\n\n{fence(whole)}"
    return template.safe_substitute(title=title, text=text).strip()


def without(phrases: Sequence[str]) -> Check:
    """None of these phrases, whatever their case."""
    return lambda text: [f"it says {phrase!r}" for phrase in phrases if phrase.lower() in text.lower()]


def prose_rule(source: str, *, least: int, most: int, banned: Sequence[str], is_faithful: bool) -> Check:
    """Length, banned phrases, no link of its own; `is_faithful`: no number of its own, and the source's words."""
    of_any = (length(least, most), without(banned), no_new_links(source))
    return all_of(*of_any, no_new_numbers(source), words_from(source)) if is_faithful else all_of(*of_any)


def fields_schema(fields: Mapping[str, str]) -> dict[str, Any]:
    """An object with these fields as strings; '' stands for what the text does not say."""
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "maxLength": MOST_FIELD_CHARACTERS, "description": words}
            for name, words in fields.items()
        },
        "required": list(fields),
        "additionalProperties": False,
    }


def fields_rule(source: str) -> Check:
    """Every value stands in the text as it is, in whole words and numbers, and at least one was found."""

    def check(said: str) -> list[str]:
        values = json.loads(said)
        problems = [
            f"{name} {value!r} is not in the text" for name, value in values.items() if not _is_in(value, source)
        ]
        return problems if any(value.strip() for value in values.values()) else [*problems, "it found no value at all"]

    return check


def _is_in(value: str, source: str) -> bool:
    """Whether a value stands in the text and is no fragment there, as `25.00` is of `125.00`, `-25.00` or `25.001`."""
    inside = f"[^\\W{UNSPACED}]"
    before = f"(?<!{inside})(?<!\\d[.,:'])(?<!\\s[-−])(?<!^[-−])" if value[:1].isdigit() else f"(?<!{inside})"
    after = rf"(?!{inside})(?![.,:']\d)" if value[-1:].isdigit() else f"(?!{inside})"
    first = before if re.match(inside, value[:1]) else ""
    last = after if re.match(inside, value[-1:]) else ""
    return re.search(first + re.escape(value) + last, source) is not None
