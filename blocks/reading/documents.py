"""Documents of a folder, the newest: text, markdown, mails as files, PDFs; one that cannot be read is named.

Bounds: `max_bytes` of each file, of a PDF also `MOST_PAGES` and `MOST_SECONDS`, looked at between its pages.
"""

import email
import io
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from blocks.reading.charsets import decoded
from blocks.reading.fetch import fetch
from blocks.reading.items import Item
from blocks.reading.mail_text import body, header
from blocks.reading.newest import newest_files
from blocks.reading.places import MAX_BYTES, locate, unreadable
from blocks.untrusted import seen

SUFFIXES = frozenset({".txt", ".md", ".eml", ".pdf"})
# An invoice has three pages, a contract thirty; what is longer is a book.
MOST_PAGES, MOST_SECONDS = 60, 20.0
MOST_CHARACTERS = 400_000
PDF_MARK = b"%PDF-"
LEAST_LETTERS = 10


class Unread(Exception):
    """Why one document cannot be used, in words for the page."""


@dataclass(frozen=True)
class Documents:
    """What a folder holds, the newest first. `unread`: name -> why it could not be read. `left_out`: how many older."""

    items: list[Item]
    unread: dict[str, str]
    left_out: int = 0


def read_documents(source: str, *, max_items: int, max_bytes: int = MAX_BYTES) -> list[Item]:
    """Those of a folder that can be read, the newest first.

    Raises:
        BadInput: unreadable, or none of its documents can be read.
    """
    read = read_folder(source, max_items=max_items, max_bytes=max_bytes)
    if not read.items:
        name, why = next(iter(read.unread.items()))
        raise unreadable(source, f"{name}: {why}")
    return read.items


def read_folder(source: str, *, max_items: int, max_bytes: int = MAX_BYTES) -> Documents:
    """The newest documents of a folder, by their last change, and why others could not be read.

    Raises:
        BadInput: unreadable, or without any document.
    """
    if source.startswith(("http://", "https://")):
        files, left_out = {source.rstrip("/").rpartition("/")[2] or source: fetch(source, max_bytes=max_bytes)}, 0
    else:
        top, newest = locate(source), newest_files(source, SUFFIXES, most=max_items)
        files = {str(path.relative_to(top)) if path != top else path.name: path for path in newest.paths}
        left_out = newest.left_out
    if not files:
        raise unreadable(source, "it holds no .txt, .md, .eml or .pdf file")
    read = Documents([], {}, left_out)
    for name, file in files.items():
        try:
            text = _text(_bytes(file, max_bytes), name, max_bytes)
        except (Unread, OSError) as error:
            read.unread[name] = str(error)
        else:
            read.items.append(Item(id=name, title=Path(name).stem, text=text))
    return read


def _bytes(file: Path | bytes, max_bytes: int) -> bytes:
    if isinstance(file, bytes):
        return file
    with file.open("rb") as opened:
        return opened.read(max_bytes + 1)


def _text(raw: bytes, name: str, max_bytes: int) -> str:
    """The words of one document, without what is not seen.

    Raises:
        Unread: it has none, or they cannot be had.
    """
    if raw.startswith(PDF_MARK) or name.lower().endswith(".pdf"):
        if len(raw) > max_bytes:
            raise Unread(f"it has more than {max_bytes} bytes")
        text = pdf_text(raw)
    elif name.lower().endswith(".eml"):
        text = _read_mail(raw[:max_bytes])
    else:
        text = decoded(raw[:max_bytes])
    plain = seen(text)[:MOST_CHARACTERS]
    if not plain.strip():
        raise Unread("it is empty")
    return plain


def _read_mail(raw: bytes) -> str:
    try:
        return _mail(raw)
    except Exception as error:  # the standard library's parser, on bytes that nobody foresaw
        raise Unread(f"it is no mail that can be read ({type(error).__name__})") from error


def _mail(raw: bytes) -> str:
    """Who wrote, about what, and the text part."""
    mail = email.message_from_bytes(raw)
    name = header(mail, "From").partition("<")[0].strip(' "')
    head = f"From: {name}\n" if name else ""
    return f"{head}Subject: {header(mail, 'Subject')}\n\n{body(mail)}"


def pdf_text(raw: bytes) -> str:
    """The text of a PDF's pages, as it is laid out in lines.

    Raises:
        Unread: encrypted, broken, without text, or longer than the bounds in pages or seconds.
    """
    # Imported here: few agents read PDFs, and it takes a moment.
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of every flaw; what counts is the text
    try:
        reader = PdfReader(io.BytesIO(raw), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unread("it is encrypted")
        text = "\n".join(_pages(reader))
    except (PyPdfError, RecursionError, MemoryError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Unread(f"it is no PDF that can be read ({type(error).__name__})") from error
    except (IndexError, OverflowError, NotImplementedError, ArithmeticError, AssertionError, OSError) as error:
        raise Unread(f"it is no PDF that can be read ({type(error).__name__})") from error
    if sum(c.isalpha() for c in text) < LEAST_LETTERS:
        raise Unread("it holds no text, only pictures: it may be a scan")
    return text


def _pages(reader: object) -> list[str]:
    begun, texts, pages = time.monotonic(), list[str](), getattr(reader, "pages", [])
    for number, page in enumerate(pages):
        if number == MOST_PAGES:
            raise Unread(f"it has more than {MOST_PAGES} pages")
        if time.monotonic() - begun > MOST_SECONDS:
            raise Unread(f"its pages took longer than {MOST_SECONDS:.0f} s")
        texts.append(page.extract_text())
    return texts
