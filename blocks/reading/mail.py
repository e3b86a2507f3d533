"""Messages: maildir, mbox, a tracker's issues as JSON."""

import json
import mailbox
from collections.abc import Iterable
from email.header import decode_header, make_header
from email.message import Message
from pathlib import Path

from blocks.reading.items import Item
from blocks.reading.places import MAX_BYTES, locate, read_text, unreadable
from blocks.untrusted import as_data


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
        raise unreadable(source, str(error)) from error
    if not items:
        raise unreadable(source, "it holds no messages")
    return items[-max_items:]


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
        raise unreadable(source, f"it is no JSON list of issues with number, title and body ({error})") from error
