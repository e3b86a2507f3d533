"""What a page would do where it is shown, by a real parser: raw HTML, images, links and addresses in it. Pure."""

import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from html import unescape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# What viewers make a link of by themselves (GitHub Flavored Markdown, "Autolinks (extension)").
BARE_ADDRESS = re.compile(r"(?:(?:https?|ftp):/+|(?<![a-z0-9])www\.)[^\s<]*", re.IGNORECASE)
SCHEMES = ("http://", "https://", "mailto:")
ANCHOR = re.compile(r"#[\w.-]*")
ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
# What ends an address in a sentence or in markup is not part of it.
TRAILING = ")].,;:!?'\"*_~|»”’"
CLOSING_FENCE = re.compile(r"[\s>]*(?:`{3,}|~{3,})\s*")
# Deeper than any page of ours; what lies deeper is not parsed.
MOST_NESTING = 40


@dataclass(frozen=True)
class Allowed:
    """The addresses that a page may lead to."""

    keys: frozenset[str]

    @classmethod
    def of(cls, links: AbstractSet[str]) -> "Allowed":
        """As they were read, and as a parser writes them."""
        return cls(frozenset(_key(form) for link in links for form in (link, parser().normalizeLink(link))))

    def __call__(self, address: str) -> bool:
        """Whether the page may lead there: to a place in itself, or where its inputs lead."""
        if ANCHOR.fullmatch(address):
            return True
        return address.lower().startswith(SCHEMES) and _key(address) in self.keys

    def bare(self, address: str) -> bool:
        """Whether it may stand in the text, where a viewer may make a link of it; `www.` is a link too."""
        said = ESCAPED.sub(r"\1", address)
        if said.lower().startswith("www."):
            return any(self(f"{scheme}{said}") for scheme in SCHEMES[:2])
        return self(said)


def _key(address: str) -> str:
    return unescape(address).rstrip(TRAILING)


@dataclass(frozen=True)
class Found:
    """Of a page, by line: what is code, what opens a fence that nobody closes, and what must not stand there."""

    code: frozenset[int]
    unclosed: frozenset[int]
    forbidden: frozenset[int]


@cache
def parser() -> "MarkdownIt":
    """CommonMark with tables and raw HTML, as a viewer that is no friend of ours would read it."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True, "maxNesting": MOST_NESTING}).enable(["table", "strikethrough"])


def examine(text: str, allowed: Allowed) -> Found:
    """What the page holds."""
    environment: dict[str, Any] = {}
    tokens, lines = parser().parse(text, environment), text.split("\n")
    code, unclosed, forbidden = set[int](), set[int](), set[int]()
    for token in tokens:
        begin, end = token.map or (0, 0)
        if token.type == "fence":
            if end - begin > 1 and CLOSING_FENCE.fullmatch(lines[end - 1]):
                code |= set(range(begin, end))
            else:
                unclosed.add(begin)
        elif token.type == "html_block" or (token.type == "inline" and not _is_fine(token.children or [], allowed)):
            forbidden |= set(range(begin, max(end, begin + 1)))
    for reference in environment.get("references", {}).values():
        forbidden |= set(range(*reference["map"]))
    return Found(frozenset(code), frozenset(unclosed), frozenset(forbidden))


def _is_fine(parts: Iterable["Token"], allowed: Allowed) -> bool:
    for part in parts:
        if part.type in ("html_inline", "image"):
            return False
        if part.type == "link_open" and not allowed(str(part.attrs.get("href", ""))):
            return False
        if part.type == "text" and not all(allowed.bare(address) for address in BARE_ADDRESS.findall(part.content)):
            return False
    return True
