"""RSS and Atom feeds, from a file or the web, and folders of pages: newest first, each entry once."""

import calendar
import hashlib
import io
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit, urlunsplit

import feedparser

from blocks.reading.charsets import declared_in, decoded
from blocks.reading.found import MOST_ITEMS, Found, aware, distinct, newest_first, written_at
from blocks.reading.items import Item
from blocks.reading.pages import read_pages
from blocks.reading.places import MAX_BYTES, locate, read_bytes, unreadable
from blocks.untrusted import SURROGATE, as_data, visible

# Parameters that say where a reader came from and not what is read.
TRACKING = frozenset({"fbclid", "gclid", "dclid", "msclkid", "mc_cid", "mc_eid", "igshid", "ref", "ref_src", "cmpid"})
TRACKING_PREFIX = "utm_"
# What ends an address in markdown or in plain text; as %XX it is the same address.
ENDS_AN_ADDRESS = "()[]<>\"'`|\\{}^ "
LONGEST_ADDRESS = 1000
# feedparser is quadratic in what is opened and not closed: 33,000 tags took 3.6 s. No entry of a real feed comes near.
MOST_OPEN_IN_ENTRY, MOST_OPEN = 3_000, 20_000
LESS_THAN = rb"(?:<|&lt;|&#0{0,9}60;|&#[xX]0{0,9}3[cC];)"
OPENING, CLOSING = re.compile(LESS_THAN + rb"[a-zA-Z!?]"), re.compile(LESS_THAN + rb"/|/>|\?>")
REFERENCE, MOST_DIGITS = re.compile(rb"&#([xX][0-9a-fA-F]+|[0-9]+);?"), 9
ENTRY = re.compile(rb"<(?:item|entry)\b", re.IGNORECASE)


def read_feed(source: str, *, max_items: int = MOST_ITEMS, max_bytes: int = MAX_BYTES) -> Found[Item]:
    """Newest entries of an RSS or Atom feed, or of a folder of markdown and HTML pages.

    Raises:
        BadInput: unreadable, or no feed.
    """
    on_the_web = source.startswith(("http://", "https://"))
    if not on_the_web and locate(source).is_dir():
        found = read_pages(source, max_bytes=max_bytes)
    else:
        raw = read_bytes(source, max_bytes=max_bytes)
        found = _feed(source, raw, base=source if on_the_web else "")
        if len(raw) == max_bytes:
            found.problems.append(f"what comes after its first {max_bytes} bytes (`max_bytes`)")
    found.items = _once(newest_first(distinct(found.items)))[:max_items]
    return found


def _feed(source: str, raw: bytes, *, base: str) -> Found[Item]:
    text = REFERENCE.sub(_a_letter, decoded(raw, declared_in(raw)).encode("utf-8", "replace"))
    if _overgrown(text):
        raise unreadable(source, "it opens thousands of tags and closes none of them")
    headers = {"content-type": "application/xml; charset=utf-8"} | ({"content-location": base} if base else {})
    try:
        # As a file: given words, feedparser opens what they name, be it an address or a path.
        feed = feedparser.parse(io.BytesIO(text), response_headers=headers)
    except Exception as error:  # a parser of others, on bytes that nobody foresaw
        raise unreadable(source, f"it is no feed that can be read ({type(error).__name__})") from error
    if not feed.entries:
        raise unreadable(source, "it holds no feed entries")
    found, base = Found[Item](), base or str(feed.feed.get("link", ""))
    for place, entry in enumerate(feed.entries[:MOST_ITEMS]):
        try:
            item = _entry(entry, base)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:  # what feedparser let through
            found.problems.append(f"entry {place + 1}: {type(error).__name__}")
            continue
        if item.title or item.text:
            found.items.append(item)
        else:
            found.problems.append(f"entry {place + 1}: neither a title nor a text")
    if not found.items:
        raise unreadable(source, "its entries have neither titles nor texts")
    if (left := len(feed.entries) - MOST_ITEMS) > 0:
        found.problems.append(f"{left} entries beyond the first {MOST_ITEMS}")
    return found


def _a_letter(reference: re.Match[bytes]) -> bytes:
    """A reference to what is no letter, such as half of one, ends feedparser's work on the whole feed."""
    digits = reference[1].lower().removeprefix(b"x").lstrip(b"0")
    code = (
        int(digits or b"0", 16 if reference[1][:1] in b"xX" else 10)
        if len(digits) < MOST_DIGITS
        else sys.maxunicode + 1
    )
    return reference[0] if code <= sys.maxunicode and not SURROGATE.match(chr(code)) else b"&#xFFFD;"


def _overgrown(raw: bytes) -> bool:
    open_tags = [len(OPENING.findall(part)) - len(CLOSING.findall(part)) for part in ENTRY.split(raw)]
    return max(open_tags) > MOST_OPEN_IN_ENTRY or sum(open_tags) > MOST_OPEN


def _entry(entry: Any, base: str) -> Item:
    texts = [str(entry.get("summary", "")), *(str(part.get("value", "")) for part in entry.get("content", []))]
    title, text = as_data(str(entry.get("title", "")), 200), as_data(max(texts, key=len))
    url = address(str(entry.get("link", "")), base)
    named = "".join(visible(str(entry.get("id", ""))[:1000]).split())[:200]
    return Item(
        id=named or url or f"no-id-{hashlib.sha256(f'{title}|{text}'.encode()).hexdigest()[:12]}",
        title=title or text[:60],
        text=text,
        url=url,
        at=_moment(entry),
    )


def _moment(entry: Any) -> datetime | None:
    """feedparser reads month 13 as next January, so what looks like ISO is read strictly."""
    for name in ("published", "updated"):
        # Asked by itself, an entry gives one date for the other, with a warning.
        written, parsed = str(dict.get(entry, name, "")).strip(), dict.get(entry, f"{name}_parsed")
        if written[:4].isdecimal() and (moment := written_at(written)):
            return moment
        if written and not written[:4].isdecimal() and parsed:
            try:
                return aware(datetime.fromtimestamp(calendar.timegm(parsed), UTC))
            except (ValueError, OverflowError, OSError, TypeError):
                continue
    return None


def address(written: str, base: str = "") -> str:
    """An address that can be shown, whole; '' for one that is no http(s) address."""
    plain = SURROGATE.sub("\ufffd", written).strip()
    if not plain:
        return ""
    try:
        whole = urljoin(base, plain)
        parts = urlsplit(whole)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or len(whole) > LONGEST_ADDRESS:
        return ""
    return "".join(quote(c) if c in ENDS_AN_ADDRESS or not c.isprintable() else c for c in whole)


def without_tracking(url: str) -> str:
    """The same place, however a reader came there."""
    try:
        parts = urlsplit(url)
        asked = parse_qsl(parts.query, keep_blank_values=True)
        told = [(name, value) for name, value in asked if not _tracks(name.lower())]
    except ValueError:
        return url
    host = parts.netloc.lower().removeprefix("www.")
    return urlunsplit(("https", host, parts.path.rstrip("/"), urlencode(told), ""))


def _tracks(name: str) -> bool:
    return name in TRACKING or name.startswith(TRACKING_PREFIX)


def _once(items: Iterable[Item]) -> list[Item]:
    """Without those that lead to the same place as another, or say the same."""
    kept, places, words = list[Item](), set[str](), set[str]()
    for item in items:
        place, said = without_tracking(item.url), f"{item.title}|{item.text}".casefold()
        if (item.url and place in places) or said in words:
            continue
        places.add(place)
        words.add(said)
        kept.append(item)
    return kept
