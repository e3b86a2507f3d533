"""Pages of a folder, as markdown or HTML: title, words, and where they are on the web if they say so."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from blocks.reading.charsets import decoded
from blocks.reading.found import Found, written_at
from blocks.reading.items import Item
from blocks.reading.newest import DAY_IN_NAME, changed_at, day_in, newest_files
from blocks.reading.places import MAX_BYTES, locate, unreadable
from blocks.untrusted import as_data

# The words of a page come early; the rest is not looked at.
PAGE_BYTES = 512 * 1024
MOST_PAGES = 1000
SUFFIXES = frozenset({".md", ".html", ".htm"})
FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(.{0,4000}?)\n---[^\S\n]*\n", re.DOTALL)
HEADING = re.compile(r"^#{1,3}\s+(.{1,300})$", re.MULTILINE)
ADDRESS = re.compile(r"https?://[^\s<>\"'()\[\]`|\\{}^]{1,1000}")
# Marks of markdown that would only cost tokens.
MARKS = re.compile(r"^\s{0,3}(?:#{1,6}|>|[-*+])\s+|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}", re.MULTILINE)
TELLING = re.compile(r"<title\b[^<>]{0,200}>[^<]{1,300}|<(?:link|time)\b[^<>]{0,600}>", re.IGNORECASE)
TELLING_CHARACTERS, MOST_TAGS = 200_000, 50
# What surrounds the words of a page, or is not shown.
AROUND = re.compile(r"(?is)<(script|style|title|nav|footer)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)")
LINK = re.compile(r"!?\[([^\]]{0,300})\]\([^)]{0,1000}\)")


def read_pages(source: str, *, max_bytes: int = MAX_BYTES) -> Found[Item]:
    """The newest pages, by the day in their names, else of their last change; those without words are problems.

    Raises:
        BadInput: without any page.
    """
    folder, found = locate(source), Found[Item]()
    newest = newest_files(source, SUFFIXES, most=MOST_PAGES, age=_age)
    if newest.left_out:
        found.problems.append(f"{newest.left_out} older pages")
    for path in sorted(newest.paths):
        name = str(path.relative_to(folder)) if path != folder else path.name
        try:
            item = _page(path, name, max_bytes)
        except (OSError, RecursionError) as error:
            found.problems.append(f"{name}: {type(error).__name__}")
            continue
        if item.text:
            found.items.append(item)
        else:
            found.problems.append(f"{name}: no words in it")
    if not found.items:
        raise unreadable(source, "it holds no .md or .html page with words in it")
    return found


def _age(path: Path) -> tuple[str, str]:
    return day_in(path) or f"{datetime.fromtimestamp(changed_at(path), UTC):%Y-%m-%d}", str(path)


def _page(path: Path, name: str, max_bytes: int) -> Item:
    with path.open("rb") as file:
        text = decoded(file.read(min(max_bytes, PAGE_BYTES)))
    told, title, words = _markdown(text) if path.suffix.lower() == ".md" else _html(text)
    day = DAY_IN_NAME.search(name)
    return Item(
        id=name,
        title=as_data(told.get("title") or title or path.stem, 200),
        text=as_data(words),
        url=told["url"] if ADDRESS.fullmatch(told.get("url", "")) else "",
        at=written_at(told.get("date") or (day[0] if day else "")),
    )


def _markdown(text: str) -> tuple[dict[str, str], str, str]:
    """What its front matter tells, its first heading, its words."""
    front = FRONT_MATTER.match(text)
    words = text[front.end() :] if front else text
    heading = HEADING.search(words)
    rest = words.replace(heading[0], "", 1) if heading else words
    return _told(front[1]) if front else {}, heading[1] if heading else "", MARKS.sub("", LINK.sub(r"\1", rest))


def _told(front: str) -> dict[str, str]:
    """Plain values only: what a nest of references would grow to is never written out."""
    try:
        found: Any = yaml.safe_load(front)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(k): str(v) for k, v in found.items() if isinstance(k, str) and not isinstance(v, (dict, list, set))}


class _Page(HTMLParser):
    """Title, address and day of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.told: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {key: value or "" for key, value in attrs}
        if tag == "link" and named.get("rel") == "canonical":
            self.told["url"] = named.get("href", "")
        elif tag == "time":
            self.told.setdefault("date", named.get("datetime", ""))

    def handle_data(self, data: str) -> None:
        self.told.setdefault("title", data)


def _html(text: str) -> tuple[dict[str, str], str, str]:
    """The library's parser gets only the few tags that tell something: on others it can be kept busy for minutes."""
    page = _Page()
    for found in islice(TELLING.finditer(text[:TELLING_CHARACTERS]), MOST_TAGS):
        page.feed(found[0])
    page.close()
    return page.told, "", AROUND.sub(" ", text)
