"""The words of one mail: its own text first, without quotes, signature, markup and attachments. Pure."""

import re
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message as Mail

from blocks.reading.charsets import decoded
from blocks.untrusted import SURROGATE

MOST_PARTS, DEEPEST = 100, 20
QUOTE = re.compile(r"^\s{0,3}>")
SIGNATURE = re.compile(r"^-- ?$")
# The line before quoted words, as mail programs write it in English, German and French.
QUOTED_FROM_HERE = re.compile(
    r"^\s*(?:On\b.{4,200}\bwrote:|Am\b.{4,200}\bschrieb\b.{0,100}:|Le\b.{4,200}\ba écrit\s?:"
    r"|-{2,}\s*(?:Original Message|Ursprüngliche Nachricht|Message d'origine)\s*-{2,})\s*$",
    re.IGNORECASE,
)
FORWARDED_FROM_HERE = re.compile(r"^\s*-{2,}\s*(?:Forwarded message|Weitergeleitete Nachricht).{0,40}-{2,}\s*$", re.I)
# A line break inside the line that introduces a quote: mail programs wrap it.
WRAPPED = re.compile(r"^((?:On|Am|Le)\b[^\n]{4,160})\n([^\n]{1,120}:)$", re.MULTILINE)
HIDDEN = re.compile(r"(?is)<(script|style|head|title)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)")
BREAK = re.compile(r"(?i)<(?:br|/p|/div|/tr|/li|/h[1-6])\b[^>]{0,200}>")
BLOCKQUOTE = re.compile(r"(?is)<blockquote\b.*?(?:</blockquote\s*>|$)")


def header(mail: Mail, name: str) -> str:
    """A header as people read it: encoded words decoded, bare bytes guessed, '' where there is none."""
    found = next((str(value) for key, value in mail.raw_items() if key.lower() == name.lower()), "")
    plain = decoded(found.encode("utf-8", "surrogateescape"))
    try:
        return SURROGATE.sub("\ufffd", str(make_header(decode_header(plain))))
    except (HeaderParseError, LookupError, UnicodeError, ValueError):
        return plain


def body(mail: Mail) -> str:
    """What its sender wrote: the plain text, else the page's; may still hold markup of a page."""
    parts = list(_texts(mail))
    plain = next((text for kind, text in parts if kind == "text/plain" and text.strip()), "")
    page = next((text for kind, text in parts if kind == "text/html" and text.strip()), "")
    return own_words(plain) if plain else own_words(BREAK.sub("\n", _visible(page)))


def attachments(mail: Mail) -> tuple[str, ...]:
    """Names of what came with it."""
    names = [_decoded_name(part) for part in _leaves(mail) if _is_attached(part)]
    return tuple(name or "without a name" for name in names)


def own_words(text: str) -> str:
    """The text without what it quotes; of what is only quoted or forwarded, the quoted words."""
    lines = WRAPPED.sub(r"\1 \2", text.replace("\r\n", "\n")).split("\n")
    own, rest = _until(lines, FORWARDED_FROM_HERE)
    written, _ = _until(own, QUOTED_FROM_HERE)
    kept = [line for line in _unsigned(written) if not QUOTE.match(line)]
    forwarded = [line.lstrip("> ") for line in _unsigned(rest[1:])]
    if not "".join(kept + forwarded).strip():
        return "\n".join(line.lstrip("> ") for line in lines).strip()
    return "\n".join(kept + forwarded).strip()


def _until(lines: list[str], mark: re.Pattern[str]) -> tuple[list[str], list[str]]:
    for number, line in enumerate(lines):
        if mark.match(line):
            return lines[:number], lines[number:]
    return lines, []


def _unsigned(lines: list[str]) -> list[str]:
    return _until(lines, SIGNATURE)[0]


def _visible(page: str) -> str:
    """A page without what it does not show; what it quotes goes too, unless that is all there is."""
    shown = HIDDEN.sub(" ", page)
    unquoted = BLOCKQUOTE.sub(" ", shown)
    return unquoted if re.sub(r"<[^<>]*>|\s|&nbsp;", "", unquoted) else shown


def _texts(mail: Mail) -> Iterator[tuple[str, str]]:
    for part in _leaves(mail):
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes) and part.get_content_maintype() == "text" and not _is_attached(part):
            yield part.get_content_type(), decoded(payload, _charset(part))


def _charset(part: Mail) -> str:
    try:
        return part.get_content_charset() or ""
    except (LookupError, UnicodeError, ValueError):
        return ""


def _leaves(mail: Mail, depth: int = 0) -> Iterator[Mail]:
    """Parts that hold something, bounded in number and depth; a mail inside a mail is an attachment."""
    # Asked for its payload, a text is decoded as it declares, which fails where that is no encoding.
    if not mail.is_multipart() or mail.get_content_type() == "message/rfc822":
        yield mail
        return
    payload = mail.get_payload()
    if isinstance(payload, list) and depth < DEEPEST:
        for part in payload[:MOST_PARTS]:
            if isinstance(part, Mail):
                yield from _leaves(part, depth + 1)


def _is_attached(part: Mail) -> bool:
    named = part.get_content_disposition() == "attachment" or bool(_decoded_name(part))
    return named or part.get_content_type() == "message/rfc822"


def _decoded_name(part: Mail) -> str:
    try:
        return str(make_header(decode_header(part.get_filename() or "")))
    except (HeaderParseError, LookupError, UnicodeError, ValueError, TypeError):
        return "unreadable name"
