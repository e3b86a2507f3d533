"""One `hotdesk up` per state folder: a lock that the kernel drops when its holder dies.

The file's content (who holds it) is for people and for `hotdesk down`; the flock alone decides.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from governor.errors import NotReady
from governor.processes import Identity, Life, identify, life
from governor.settings import Home


@contextmanager
def up_lock(where: Home) -> Iterator[None]:
    """Hold the state folder for this process.

    Raises:
        NotReady: another process holds it. data: `pid`.
    """
    handle = os.open(where.up_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _taken(where) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(identify())).encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)  # also drops the lock


def holder(where: Home) -> Identity | None:
    """The process that holds the lock and lives, or None."""
    try:
        said = json.loads(where.up_lock.read_text())
        owner = Identity(**said)
    except (OSError, ValueError, TypeError):
        return None
    return owner if life(owner) is not Life.DEAD else None


def _taken(where: Home) -> NotReady:
    owner = holder(where)
    who = f"process {owner.pid}" if owner else "another process"
    return NotReady(
        f"hotdesk is already up in {where.root}, held by {who}.",
        means="That one goes on undisturbed; nothing was started.",
        remedy="See it with `hotdesk status`, stop it with `hotdesk down`,"
        " or set HOTDESK_HOME for a second, separate workforce.",
        pid=owner.pid if owner else None,
    )
