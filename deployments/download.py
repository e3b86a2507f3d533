"""One file over HTTP into a `.part`, which goes on where it stopped. Verifying is left to the caller."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from governor.errors import NotReady
from governor.events import log_event
from governor.settings import MIB

Say = Callable[[str], None]
CHUNK_BYTES = 1 << 18
# A registry that sends nothing for this long is gone; the next attempt goes on from there.
SILENCE_SECONDS = 30.0
# Attempts that brought no byte at all, one after the other; any progress starts the count anew.
EMPTY_ATTEMPTS = 3
# Some lines cut every few MiB; 93 MiB in at most this many pieces, then the person is asked.
ATTEMPTS = 40
PAUSE_SECONDS = 1.0
SAY_EVERY_PERCENT = 10


@dataclass(frozen=True)
class Source:
    """What is fetched: its size in bytes, and what to call it to a person."""

    size_bytes: int
    label: str


def download(
    address: str, part: Path, source: Source, *, say: Say, pause: Callable[[float], None] = time.sleep
) -> None:
    """Bring `part` to its full size, going on from what it holds.

    Raises:
        NotReady: the connection brings nothing any more, or the disk is full; what came is kept.
    """
    empty, problem = 0, ""
    for attempt in range(ATTEMPTS):
        before = _size(part)
        if before > source.size_bytes:
            part.unlink()
            before = 0
        if before == source.size_bytes:
            return
        problem = _attempt(address, part, source, say)
        if _size(part) == source.size_bytes:
            return
        empty = 0 if _size(part) > before else empty + 1
        log_event("download_cut", attempt=attempt, have=_size(part), why=problem)
        if empty >= EMPTY_ATTEMPTS:
            break
        pause(PAUSE_SECONDS)
    raise NotReady(
        f"The {source.label} cannot be fetched: {problem}.",
        means=f"{_size(part) // MIB} of {source.size_bytes // MIB} MiB are kept; the next attempt goes on from there.",
        remedy="Check the network, then run the command again (`hotdesk fetch`).",
    )


def _attempt(address: str, part: Path, source: Source, say: Say) -> str:
    """One request; says what ended it early."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with (
            httpx.Client(timeout=SILENCE_SECONDS, follow_redirects=True) as client,
            client.stream("GET", address, headers=headers) as answer,
        ):
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                return "the server refused to go on from there"
            answer.raise_for_status()
            _receive(answer, part, source, say)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return _plain(error)
    except OSError as error:
        raise NotReady(
            f"The {source.label} cannot be written: {error.strerror or error}.",
            means="What came is kept.",
            remedy="Free some space, or set HOTDESK_HOME to a folder on a larger disk.",
        ) from error
    return "the connection ended early"


def _receive(answer: httpx.Response, part: Path, source: Source, say: Say) -> None:
    """Append what a 206 brings; a 200 starts from the beginning, whatever was asked for."""
    continued = answer.status_code == httpx.codes.PARTIAL_CONTENT
    have = _size(part) if continued else 0
    told = have * 100 // source.size_bytes
    with part.open("ab" if continued else "wb") as output:
        for chunk in answer.iter_bytes(CHUNK_BYTES):
            output.write(chunk)
            have += len(chunk)
            percent = have * 100 // source.size_bytes
            if percent >= told + SAY_EVERY_PERCENT:
                told = percent
                say(f"{source.label}: {have // MIB} of {source.size_bytes // MIB} MiB")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _plain(error: httpx.HTTPError | httpx.InvalidURL) -> str:
    """The kind of error without the address: it may hold a password."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"the registry answered {error.response.status_code}"
    return type(error).__name__
