"""Mails of a maildir or an mbox: newest first, threads recognised, nothing opened, marked as read or moved."""

import hashlib
import heapq
import mailbox
import re
import tempfile
from collections.abc import Collection, Iterator
from datetime import datetime
from email import message_from_bytes
from email.message import Message as Mail
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import Path

from blocks.reading import mail_text
from blocks.reading.found import MOST_ITEMS, Found, Message, aware, distinct, newest_first
from blocks.reading.places import MAX_BYTES, locate, unreadable
from blocks.untrusted import as_data

MESSAGE_ID = re.compile(r"<[\x21-\x3b\x3d\x3f-\x7e]{1,200}>")
# A thread that goes on longer than this goes in circles.
LONGEST_THREAD = 200
# Of a mail with attachments the text comes first.
MAIL_BYTES = 512 * 1024


def read_mail(
    source: str, *, own: Collection[str] = (), max_items: int = MOST_ITEMS, max_bytes: int = MAX_BYTES
) -> Found[Message]:
    """Mails that others wrote, newest first.

    Args:
        own: our own addresses; what they wrote is left out, and what they wrote to is answered.
        max_items: files of a maildir to look at, by their names, which begin with the time of arrival.
        max_bytes: of an mbox, its last ones.

    Raises:
        BadInput: unreadable, or without any message.
    """
    path = locate(source)
    found = Found[Message]()
    pairs: list[tuple[Message, str]] = []
    try:
        for key, raw in _raw_mails(path, max_items, max_bytes):
            try:
                pairs.append(_message(message_from_bytes(_there(raw))))
            except Exception as error:  # the standard library's parser, on bytes that nobody foresaw
                found.problems.append(f"{as_data(key, 80)}: {type(error).__name__}")
        found.problems += _left_out(path, max_items, max_bytes)
    except (OSError, mailbox.Error) as error:
        raise unreadable(source, str(error)) from error
    if not pairs:
        raise unreadable(source, "it holds no messages that can be read")
    found.items = _others(_threaded(pairs), own)
    # Anybody can write our address into `From`: what is left out for it is at least counted.
    if own and (count := sum(_is_ours(message, own) for message, _ in pairs)):
        found.problems.append(f"{count} that name our own address as their sender")
    return found


def _left_out(path: Path, max_items: int, max_bytes: int) -> list[str]:
    """Older mails that nobody looked at."""
    if path.is_dir():
        left = sum(1 for _ in _files(path)) - max_items
        return [f"{left} older mails"] if left > 0 else []
    return [f"older mails than the last {max_bytes} bytes"] if path.stat().st_size > max_bytes else []


def _there(raw: bytes | OSError) -> bytes:
    if isinstance(raw, OSError):
        raise raw
    return raw


def _raw_mails(path: Path, max_items: int, max_bytes: int) -> Iterator[tuple[str, bytes | OSError]]:
    """Key and beginning of each, in the order of arrival; why not, of one that cannot be read or was moved away."""
    if path.is_dir():
        yield from _maildir(path, max_items)
    else:
        yield from _mbox(path, max_bytes)


def _maildir(folder: Path, max_items: int) -> Iterator[tuple[str, bytes | OSError]]:
    """The newest of its files."""
    for path in sorted(heapq.nlargest(max_items, _files(folder), key=_arrival), key=_arrival):
        try:
            with path.open("rb") as file:
                raw = file.read(MAIL_BYTES)
        except OSError as error:
            yield path.name.partition(":")[0], error
        else:
            yield path.name.partition(":")[0], raw


def _files(folder: Path) -> Iterator[Path]:
    """Files in `cur` and `new`; git keeps no empty folders, so one may lack. Links that lead out are left out."""
    root = folder.resolve()
    files = (p for part in ("cur", "new") for p in folder.joinpath(part).glob("*") if p.is_file())
    return (p for p in files if not p.name.startswith(".") and p.resolve().is_relative_to(root))


def _arrival(path: Path) -> tuple[float, str]:
    seconds = path.name.partition(".")[0]
    return (float(seconds) if seconds.isdecimal() and len(seconds) < 16 else 0.0, path.name)


def _mbox(path: Path, max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """The library reads a whole file to find its messages, so a long one is cut to its end first."""
    size = path.stat().st_size
    with tempfile.NamedTemporaryFile(prefix="mbox-") as cut:
        with path.open("rb") as file:
            file.seek(max(0, size - max_bytes))
            tail = file.read(max_bytes)
        if size > max_bytes:
            tail = tail[tail.find(b"\nFrom ") + 1 :]
        cut.write(tail)
        cut.flush()
        for key in (box := mailbox.mbox(cut.name, create=False)).iterkeys():
            yield f"message {key}", box.get_bytes(key)[:MAIL_BYTES]


def _message(mail: Mail) -> tuple[Message, str]:
    """The message, and the id of the one that it answers."""
    title = as_data(mail_text.header(mail, "Subject"), 200)
    text = as_data(mail_text.body(mail))
    sender = as_data(_sender(mail_text.header(mail, "From")), 120)
    found = MESSAGE_ID.search(mail_text.header(mail, "Message-ID"))
    own = found[0] if found else f"<{hashlib.sha256(f'{sender}|{title}|{text}'.encode()).hexdigest()[:16]}.no-id>"
    before = MESSAGE_ID.findall(f"{mail_text.header(mail, 'References')} {mail_text.header(mail, 'In-Reply-To')}")
    message = Message(
        id=own,
        title=title or "(no subject)",
        text=text,
        at=_date(mail_text.header(mail, "Date")),
        sender=sender,
        attachments=tuple(as_data(name, 80) for name in mail_text.attachments(mail)),
    )
    return message, before[0] if before else ""


def _sender(written: str) -> str:
    """Name and address without the angle brackets, which would be markup."""
    found = [(name, address) for name, address in getaddresses([written]) if name or address]
    return " ".join(found[0]).strip() if found else written.replace("<", " ").replace(">", " ")


def _date(written: str) -> datetime | None:
    try:
        return aware(parsedate_to_datetime(written))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _threaded(pairs: list[tuple[Message, str]]) -> list[Message]:
    before = {message.id: first for message, first in reversed(pairs)}
    return [message.model_copy(update={"thread": _root(message.id, before)}) for message, _ in pairs]


def _root(own: str, before: dict[str, str]) -> str:
    for _ in range(LONGEST_THREAD):
        if not before.get(own):
            break
        own = before[own]
    return own


def _others(messages: list[Message], own: Collection[str]) -> list[Message]:
    """What others wrote, with whether we answered it."""
    ours = [message for message in messages if _is_ours(message, own)]
    answers: dict[str, list[datetime]] = {}
    for message in ours:
        if message.at:
            answers.setdefault(message.thread, []).append(message.at)
    theirs = [message for message in messages if not _is_ours(message, own)]
    return newest_first(
        m.model_copy(update={"answered": m.at is not None and any(at > m.at for at in answers.get(m.thread, []))})
        for m in distinct(theirs)
    )


def _is_ours(message: Message, own: Collection[str]) -> bool:
    return message.sender.lower().rpartition(" ")[2] in {address.lower() for address in own}
