"""What was fetched before, so that a site is asked for changes only. Files in the state folder, few and small.

One that cannot be read is as good as none: the address is fetched anew.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from blocks.writing.outputs import write_whole
from governor.settings import home

MOST_FILES = 256
MOST_BYTES = 64 * 1024 * 1024
# Of one answer: what a feed or a page has at most.
MOST_BYTES_EACH = 4 * 1024 * 1024
MOST_HEAD_BYTES = 32 * 1024


class Fetched(BaseModel):
    """A whole answer. `etag`, `last_modified`: how the site names this state of it, '' where it does not."""

    model_config = ConfigDict(frozen=True)

    address: str
    etag: str
    last_modified: str
    sha256: str
    body: bytes = b""

    @property
    def conditions(self) -> dict[str, str]:
        """Headers that ask for it only when it changed."""
        said = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in said.items() if value}


def folder() -> Path:
    """Where they lie."""
    return home().root / "fetched"


def recall(address: str) -> Fetched | None:
    """What this address gave before; None when that is unknown or damaged."""
    try:
        with _file(address).open("rb") as file:
            head, body = file.readline(MOST_HEAD_BYTES), file.read(MOST_BYTES_EACH + 1)
        found = Fetched.model_validate_json(head)
    except (OSError, ValueError):
        return None
    whole = found.sha256 == hashlib.sha256(body).hexdigest() and found.address == address
    return found.model_copy(update={"body": body}) if whole else None


def keep(address: str, body: bytes, *, etag: str, last_modified: str) -> None:
    """Keep a whole answer that names its state; a disk that is full keeps nothing, and nothing fails by it."""
    names = etag + last_modified
    if not names or not names.isascii() or not names.isprintable() or len(body) > MOST_BYTES_EACH:
        return
    kept = Fetched(address=address, etag=etag, last_modified=last_modified, sha256=hashlib.sha256(body).hexdigest())
    with suppress(OSError):
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(_file(address), kept.model_dump_json(exclude={"body"}).encode() + b"\n" + body)
        _make_room()


def _make_room() -> None:
    """The oldest go first."""
    rows = sorted(((p.stat(), p) for p in folder().glob("*.fetched")), key=lambda row: row[0].st_mtime, reverse=True)
    size = 0
    for number, (stat, path) in enumerate(rows, start=1):
        size += stat.st_size
        if number > MOST_FILES or size > MOST_BYTES:
            path.unlink(missing_ok=True)


def _file(address: str) -> Path:
    return folder() / f"{hashlib.sha256(address.encode(errors='replace')).hexdigest()}.fetched"
