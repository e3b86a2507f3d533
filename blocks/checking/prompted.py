"""The rules of an agent that is only a prompt: what is asked about an item, and when an answer stands. Pure.

The flow reads, asks and writes.
"""

import json
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

from blocks.checking.prose import Check, all_of, length, no_new_links, no_new_numbers, words_from
from blocks.untrusted import fence

# A field of a form; a longer one is a paragraph that the model copied.
MOST_FIELD_CHARACTERS = 120


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
    """Every value stands in the text as it is, and at least one was found."""

    def check(said: str) -> list[str]:
        values = json.loads(said)
        problems = [f"{name} {value!r} is not in the text" for name, value in values.items() if value not in source]
        return problems if any(value.strip() for value in values.values()) else [*problems, "it found no value at all"]

    return check
