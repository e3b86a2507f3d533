"""Markdown by its headings: what stands under each, as plain text."""

from itertools import pairwise

from markdown_it import MarkdownIt
from pydantic import BaseModel, ConfigDict

# A page has tens of headings; thousands are somebody's attack or a dump.
MOST_PARTS = 400


# Marks in one paragraph: a page of links has a hundred; of thousands a parser tries every pair. As many in every
# paragraph take long too: a page of ten thousand links takes a parser two seconds.
MOST_MARKS, MOST_BRACKETS = 1000, 10_000
MARKS = "[`*_<"


class Part(BaseModel):
    """A heading and what stands under it before the next one. `level`: 1 to 6, 0 for what stands before the first."""

    model_config = ConfigDict(frozen=True)

    level: int
    heading: str
    text: str


def parser() -> MarkdownIt:
    """CommonMark with tables. Its nesting is bounded (20 deep), so that brackets by the thousand cost little."""
    return MarkdownIt("commonmark").enable("table")


def without_front_matter(text: str) -> tuple[str, str]:
    """The block between two `---` at the very beginning, and the rest."""
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    if not lines or lines[0].strip() != "---":
        return "", "".join(lines)
    for number, line in enumerate(lines[1:60], 1):
        if line.strip() in ("---", "..."):
            return "".join(lines[: number + 1]), "".join(lines[number + 1 :])
    return "", "".join(lines)


def is_dense(text: str) -> bool:
    """Whether a text holds so many marks that parsing it would take long; no person writes such a page."""
    return text.count("[") > MOST_BRACKETS or any(
        paragraph.count(mark) > MOST_MARKS for paragraph in text.split("\n\n") for mark in MARKS
    )


def parts_of(text: str) -> list[Part]:
    """Every heading with what stands under it, in order; a text without headings is one part of level 0.

    Of a text that is too dense to be parsed there are none.
    """
    if is_dense(text):
        return []
    body = without_front_matter(text)[1]
    lines = body.splitlines()
    tokens = parser().parse(body)
    heads: list[tuple[int, str, int, int]] = [(0, "", 0, 0)]
    for token, inside in pairwise(tokens):
        if token.type == "heading_open" and token.map and token.level == 0:
            heads.append((int(token.tag[1]), inside.content.strip(), token.map[0], token.map[1]))
    ends = [start for _, _, start, _ in heads[1:]] + [len(lines)]
    parts = [
        Part(level=level, heading=heading, text="\n".join(lines[begin:end]).strip())
        for (level, heading, _, begin), end in zip(heads, ends, strict=True)
    ]
    return [part for part in parts if part.heading or part.text][:MOST_PARTS]
