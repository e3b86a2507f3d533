"""One card, one desk, whoever asks: a machine-wide lock per card beside every state folder.

Two state folders, or two users, have lines of their own and know nothing of each other; what they share
is the card. Who sat down takes one of the card's locks before a model is loaded and keeps it while it
sits; the kernel drops it with the process. So they take turns at the card (not first come, first served
between folders), and whoever waits is told who has it.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from governor.errors import LeftLine
from governor.settings import home

# Every user's processes must meet there; the folder is open to all and sticky, like /tmp itself.
FOLDER = "hotdesk-cards"
LOOK_SECONDS = 0.1


@contextmanager
def at_card(
    uuid: str | None, slots: int, *, wait: Callable[[float], bool], folder: Path | None = None
) -> Iterator[None]:
    """Hold one of the card's `slots` locks inside the block; `uuid` None is no card and needs none.

    Args:
        uuid: as the driver names the card.
        slots: seats at this card by the profile.
        wait: told how long to wait, waits and says whether to go on; False gives up.
        folder: where the locks live, for tests.

    Raises:
        LeftLine: `wait` said no more; the message names who has the card.
    """
    if uuid is None:
        yield
        return
    folder = folder or Path(tempfile.gettempdir()) / FOLDER
    handle = None
    try:
        while (handle := _take(folder, uuid, slots)) is None:
            if not wait(LOOK_SECONDS):
                raise _busy(folder, uuid)
        yield
    finally:
        if handle is not None:
            os.close(handle)  # also drops the lock


def _take(folder: Path, uuid: str, slots: int) -> int | None:
    for index in range(slots):
        handle = _open(folder, f"{uuid}.{index}")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        except BaseException:
            os.close(handle)
            raise
        with suppress(OSError):  # for people only; the lock alone decides
            os.truncate(handle, 0)
            os.write(handle, json.dumps({"folder": str(home().root), "uid": os.getuid(), "pid": os.getpid()}).encode())
        return handle
    return None


def _open(folder: Path, name: str) -> int:
    """The lock file, made for everybody on first use. Without O_CREAT for one that is there: in a sticky
    folder the kernel refuses that flag on other users' files."""
    path = folder / name
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o777)
            folder.chmod(0o1777)
        with suppress(FileExistsError):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            os.fchmod(handle, 0o666)
            return handle


def _busy(folder: Path, uuid: str) -> LeftLine:
    said = []
    for path in sorted(folder.glob(f"{uuid}.*")):
        with suppress(OSError, ValueError, KeyError):
            who = json.loads(path.read_text())
            said.append(f"pid {who['pid']} of user {who['uid']} for the state folder {who['folder']}")
    return LeftLine(
        f"The card {uuid} is in use by another hotdesk: {'; '.join(said) or 'it does not say which'}.",
        means="Nothing was loaded; the agent runs again at its next time.",
        remedy="Use one state folder for both (HOTDESK_HOME), or stop the other one.",
        line="gpu",
        ticket=0,
        waited_seconds=0.0,
        place=0,
        holder="; ".join(said) or None,
    )
