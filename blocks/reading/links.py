"""Links of markdown pages, found by a markdown parser and followed on disk; in the web only where that is wanted."""

import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from markdown_it.token import Token

from blocks.checking.broken_links import Leads, Link, Links
from blocks.reading.markdown_parts import is_dense, parser
from blocks.reading.places import files_in, locate, unreadable

PAGES = frozenset({".md", ".markdown"})
MOST_PAGES = 2000
PAGE_BYTES = 512 * 1024
MOST_WEB_LINKS = 50
WEB_SECONDS = 10.0
ADDRESSES = {"link_open": "href", "image": "src"}


class TooMuch(Exception):
    """A page that would take a parser long."""


def read_links(source: str, *, online: bool, max_bytes: int) -> Links:
    """Every link of every page below a folder.

    Raises:
        BadInput: there is no page.
    """
    folder = locate(source)
    there = files_in(source, PAGES, max_files=MOST_PAGES + 1)
    pages = there[:MOST_PAGES]
    if not folder.is_dir() or not pages:
        raise unreadable(source, "it is no folder with markdown pages")
    links, bad, headings = list[Link](), list[str](), dict[Path, set[str]]()
    for path in pages:
        name = path.relative_to(folder).as_posix()
        try:
            tokens = _tokens(path, max_bytes)
        except (OSError, RecursionError, TooMuch):
            bad.append(name)
            continue
        for line, target in _targets(tokens):
            leads = _leads(path, target, folder.resolve(), headings, max_bytes)
            links.append(Link(page=name, line=line, target=target, leads=leads))
    return Links(
        pages=len(pages),
        links=tuple(_looked_at(links) if online else links),
        unreadable=tuple(bad),
        is_cut=len(there) > MOST_PAGES,
    )


def _tokens(path: Path, max_bytes: int) -> list[Token]:
    most = min(max_bytes, PAGE_BYTES)
    with path.open("rb") as file:
        text = file.read(most + 1).decode("utf-8", "replace")
    if len(text) > most or is_dense(text):
        raise TooMuch
    return parser().parse(text)


def _targets(tokens: Iterable[Token]) -> Iterable[tuple[int, str]]:
    """Line and address of each link; what only looks like one (in code) is none."""
    for token in tokens:
        line = token.map[0] + 1 if token.map else 0
        for child in token.children or ():
            target = child.attrGet(ADDRESSES.get(child.type, "")) if child.type in ADDRESSES else None
            if target:
                yield line, str(target)


def _leads(page: Path, target: str, root: Path, headings: dict[Path, set[str]], max_bytes: int) -> Leads:
    try:
        parts = urlsplit(target)
    except ValueError:
        return Leads.NO_FILE
    if parts.scheme in ("http", "https"):
        return Leads.WEB
    if parts.scheme or parts.netloc:
        return Leads.OTHER
    try:
        named = unquote(parts.path)
        start = root if named.startswith("/") else page.parent.resolve()
        path = (start / named.lstrip("/")).resolve() if named else page.resolve()
        if not path.is_relative_to(root):
            return Leads.OUTSIDE
        if not path.exists():
            return Leads.NO_FILE
    except (OSError, ValueError):  # a name of 5,000 letters, a zero byte
        return Leads.NO_FILE
    if parts.fragment and path.suffix.lower() in PAGES and path.is_file():
        if path not in headings:
            try:
                headings[path] = _headings(_tokens(path, max_bytes))
            except (OSError, RecursionError, TooMuch):
                return Leads.NO_HEADING
        return Leads.THERE if unquote(parts.fragment).lower() in headings[path] else Leads.NO_HEADING
    return Leads.THERE


def _headings(tokens: list[Token]) -> set[str]:
    """Names of a page's headings as hosts of repositories make them: lower case, dashes, numbered when repeated."""
    found = set[str]()
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            name = re.sub(r"[^\w\- ]", "", inline.content.strip().lower()).replace(" ", "-")
            number = 0
            while (f"{name}-{number}" if number else name) in found:
                number += 1
            found.add(f"{name}-{number}" if number else name)
    return found


def _looked_at(links: list[Link]) -> list[Link]:
    """The same links with what each web address answers; each is asked once, and so many at most."""
    from blocks.reading.fetch import probe

    addresses = sorted({link.target.partition("#")[0] for link in links if link.leads is Leads.WEB})[:MOST_WEB_LINKS]
    seen = {address: probe(address, seconds=WEB_SECONDS) for address in addresses}
    return [
        link.model_copy(update={"status": seen[address].status or 0, "problem": seen[address].problem})
        if link.leads is Leads.WEB and (address := link.target.partition("#")[0]) in seen
        else link
        for link in links
    ]
