"""What agents read: files, folders, feeds and mail, bounded in size, as plain items. Nothing is executed.

Outside text is data: `as_data` takes out what a chat template could read as an instruction.
"""

import json
import mailbox
import re
from collections.abc import Iterable
from email.header import decode_header, make_header
from email.message import Message
from html.parser import HTMLParser
from pathlib import Path
from string import Template

import feedparser
import httpx
from pydantic import BaseModel, ConfigDict

from governor.errors import BadInput

CHECKOUT = Path(__file__).parents[1]
MAX_BYTES = 4 * 1024 * 1024
FETCH_SECONDS = 20.0
# `<|im_start|>` and its kin are single tokens to the model: in somebody's mail they would end our prompt.
SPECIAL_TOKENS = re.compile(r"<\|[^|>]{0,40}\|>")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e]")


class Item(BaseModel):
    """One thing to work on: a feed entry, a message, a document."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    text: str
    url: str = ""


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def as_data(text: str, limit: int = 1200) -> str:
    """Outside text for a prompt: one paragraph, no markup, no special tokens, at most `limit` characters."""
    parser = _Text()
    parser.feed(text)
    parser.close()
    plain = SPECIAL_TOKENS.sub(" ", CONTROL.sub(" ", " ".join(parser.parts)))
    return " ".join(plain.split())[:limit]


def locate(source: str) -> Path:
    """Path of a source, relative ones from the checkout.

    Raises:
        BadInput: it does not exist or cannot be read.
    """
    path = CHECKOUT / Path(source).expanduser()
    try:
        path.stat()
    except OSError as error:
        raise _unreadable(source, error.strerror or str(error)) from error
    return path


def read_text(source: str) -> str:
    """Text of a file, or of an http(s) address; bytes that are no UTF-8 are read as Latin-1."""
    raw = _fetch(source) if source.startswith(("http://", "https://")) else _read(source)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def read_prompt(prompt_file: str) -> Template:
    """A prompt with $placeholders.

    Raises:
        BadInput: there is no such file.
    """
    return Template(read_text(prompt_file).strip())


def read_feed(source: str, *, max_items: int) -> list[Item]:
    """Newest entries of an RSS or Atom feed.

    Raises:
        BadInput: unreadable, or no feed.
    """
    feed = feedparser.parse(read_text(source))
    if not feed.entries:
        raise _unreadable(source, "it holds no feed entries")
    entries = [
        Item(
            id=str(entry.get("id") or entry.get("link") or number),
            title=as_data(str(entry.get("title", "")), 200),
            text=as_data(str(entry.get("summary", ""))),
            url=str(entry.get("link", "")),
        )
        for number, entry in enumerate(feed.entries)
    ]
    return entries[:max_items]


def read_messages(source: str, *, max_items: int) -> list[Item]:
    """Messages of a maildir or mbox, or of a JSON list of issues, newest last as stored.

    Raises:
        BadInput: unreadable, or none of these.
    """
    path = locate(source)
    if path.suffix == ".json":
        return _issues(source)[-max_items:]
    # git keeps no empty folders, so a maildir may lack new/ and tmp/; mailbox wants them only to write.
    folder = mailbox.Maildir(path, create=False) if path.is_dir() else mailbox.mbox(path, create=False)
    try:
        items = [_mail_item(str(key), message) for key, message in _messages(folder, path)]
    except (OSError, mailbox.Error) as error:
        raise _unreadable(source, str(error)) from error
    if not items:
        raise _unreadable(source, "it holds no messages")
    return items[-max_items:]


def read_documents(source: str, *, max_items: int) -> list[Item]:
    """Text files of a folder, by name.

    Raises:
        BadInput: unreadable, or without any text file.
    """
    folder = locate(source)
    paths = sorted(p for p in folder.iterdir() if p.suffix in {".txt", ".md", ".eml"}) if folder.is_dir() else [folder]
    if not paths:
        raise _unreadable(source, "it holds no .txt, .md or .eml file")
    return [Item(id=p.name, title=p.stem, text=read_text(str(p))) for p in paths[:max_items]]


def _messages(folder: mailbox.Maildir | mailbox.mbox, path: Path) -> Iterable[tuple[str, Message]]:
    if isinstance(folder, mailbox.Maildir):
        files = sorted(p for part in ("cur", "new") for p in (path / part).glob("*") if p.is_file())
        return [(p.name, mailbox.MaildirMessage(p.read_bytes()[:MAX_BYTES])) for p in files]
    return list(folder.iteritems())


def _mail_item(key: str, message: Message) -> Item:
    part = next((p for p in message.walk() if p.get_content_type() == "text/plain"), message)
    payload = part.get_payload(decode=True)
    charset = part.get_content_charset() or "utf-8"
    try:
        body = payload.decode(charset, "replace") if isinstance(payload, bytes) else ""
    except LookupError:
        body = payload.decode("latin-1") if isinstance(payload, bytes) else ""
    subject = str(make_header(decode_header(str(message.get("Subject", "")))))
    return Item(id=str(message.get("Message-ID") or key), title=as_data(subject, 200), text=as_data(body))


def _issues(source: str) -> list[Item]:
    try:
        rows = json.loads(read_text(source))
        return [
            Item(id=f"#{row['number']}", title=as_data(row["title"], 200), text=as_data(row.get("body") or ""))
            for row in rows
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(source, f"it is no JSON list of issues with number, title and body ({error})") from error


def _read(source: str) -> bytes:
    try:
        with locate(source).open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError as error:
        raise _unreadable(source, error.strerror or str(error)) from error


def _fetch(address: str) -> bytes:
    try:
        with httpx.stream("GET", address, timeout=FETCH_SECONDS, follow_redirects=True) as answer:
            answer.raise_for_status()
            read = b""
            for chunk in answer.iter_bytes():
                read += chunk
                if len(read) > MAX_BYTES:
                    break
            return read[:MAX_BYTES]
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _unreadable(address, f"{type(error).__name__}: {error}") from error


def _unreadable(source: str, why: str) -> BadInput:
    return BadInput(
        f"The source {source} cannot be used: {why}.",
        means="The agent wrote nothing; its earlier outputs are untouched.",
        remedy="Correct `source` (or `prompt_file`) in prefect.yaml or in the run's form.",
        source=source,
    )
