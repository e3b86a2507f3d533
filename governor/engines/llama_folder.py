"""The folder of llama-server's router: which files lie there, and the lock under which they change. Starts nothing."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from governor.errors import NotReady
from governor.settings import home

BINARY = "llama-server"
# Held while a router starts or a load is told to it, never while a model loads.
LOCK_SECONDS = 40.0
LOCK_POLL_SECONDS = 0.01


def folder() -> Path:
    """Where the router's files live; made by `locked`."""
    return home().root / BINARY


def key_file() -> Path:
    """The file with the key. Its real path: processes are known by it, whatever link led to the state folder."""
    return folder().resolve() / "key"


def presets_file() -> Path:
    """The INI file that the router reads its models from."""
    return folder() / "models.ini"


def router_file() -> Path:
    """Who and where the router is."""
    return folder() / "router.json"


def log_file() -> Path:
    """The router's log, and through it that of every model it runs."""
    return home().logs / f"{BINARY}.log"


@contextlib.contextmanager
def locked(deadline: float | None = None) -> Iterator[None]:
    """Whoever starts a router, ends one, or writes presets does it in here, one process at a time.

    It is waited for until `deadline` (of the monotonic clock), LOCK_SECONDS at most.

    Raises:
        NotReady: the folder cannot be used, or somebody keeps the lock.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise folder_unusable(error) from error
    try:
        _take(handle, deadline)
        yield
    finally:
        with contextlib.suppress(OSError):  # a process forked meanwhile would keep it: closing drops only the last
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def write_private(path: Path, text: str) -> None:
    """All or nothing, and never readable by others. Raises OSError."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def unusable(why: str, remedy: str) -> NotReady:
    """The engine cannot be used, and what to do."""
    return NotReady(
        f"The engine llama_server cannot be used: {why}.",
        means="Nothing was loaded.",
        remedy=remedy,
        engine="llama_server",
    )


def folder_unusable(error: OSError) -> NotReady:
    """What a file that cannot be made or written means."""
    where = error.filename or folder()
    why = f"{where} cannot be used: {error.strerror or error}"
    return unusable(why, f"Make room on the disk, and let your user write to {folder()} and {log_file().parent}.")


def _take(handle: int, deadline: float | None) -> None:
    begun = time.monotonic()
    latest = begun + LOCK_SECONDS if deadline is None else min(begun + LOCK_SECONDS, deadline)
    while not _taken(handle):
        if time.monotonic() >= latest:
            why = f"another process keeps its lock for more than {max(0.0, latest - begun):.1f} s"
            raise unusable(why, "Try again; `hotdesk status` shows who loads a model.")
        time.sleep(LOCK_POLL_SECONDS)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
