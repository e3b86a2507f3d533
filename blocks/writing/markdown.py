"""Parts of a page: tables, cells, and whose words they are."""

import re

from governor.answers import Answer

# Whose words they are where no answer of a model passed.
BY_RULES = "by rules only"


def table(columns: list[str], rows: list[list[object]]) -> str:
    """A markdown table; line breaks and bars in cells are tamed."""
    head = [" | ".join(columns), " | ".join("---" for _ in columns)]
    body = [" | ".join(cell(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in [*head, *body])


def cell(value: object) -> str:
    """Text that stays inside its table cell and carries no markup of its own."""
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|").replace("<", "&lt;").strip()


def byline(answer: Answer) -> str:
    """Who says so: the model (a demo model is named as such), or rules because no answer passed."""
    if not answer.verified:
        return BY_RULES
    return "demo model, 135M" if answer.demo else answer.model


def escaped(value: object) -> str:
    """Outside words as they are: no character of theirs is markup, in a cell, in a link's text or outside."""
    return re.sub(r"([\\`*\[\]])", r"\\\1", " ".join(str(value).split()).replace("<", "&lt;"))
