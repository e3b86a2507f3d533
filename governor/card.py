"""One card, one desk, whoever asks: a machine-wide lock per card beside every state folder.

Two state folders, or two users, have lines of their own and know nothing of each other; what they share
is the card. Who sat down takes one of the card's locks before a model is loaded and keeps it while it
sits; the kernel drops it with the process. So they take turns at the card (not first come, first served
between folders), and whoever waits is told who has it.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from governor.errors import LeftLine, NotReady
from governor.settings import home

# Every user's processes must meet there, whatever their TMPDIR is; open to all and sticky, like /tmp itself.
SHARED = tuple(Path(name) for name in ("/dev/shm", "/tmp"))  # not for temporary files of ours
FOLDER = "hotdesk-cards"
LOOK_SECONDS = 0.1
FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


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
        NotReady: the lock cannot be made or opened.
    """
    if uuid is None:
        yield
        return
    folder = folder or next((place for place in SHARED if place.is_dir()), SHARED[-1]) / FOLDER
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
    """The lock file, made for everybody on first use.

    Raises:
        NotReady: somebody else's file stands in the way.
    """
    path = folder / name
    try:
        if not folder.is_dir():
            _appear(folder, lambda draft: draft.mkdir() or draft.chmod(0o1777))
        if not path.exists():
            _appear(path, lambda draft: draft.touch() or draft.chmod(0o666))
        return os.open(path, FLAGS)  # no O_CREAT: in a sticky folder the kernel refuses it on others' files
    except OSError as error:
        raise NotReady(
            f"The lock of the card, {path}, cannot be used: {error.strerror or error}.",
            means="Nothing was loaded.",
            remedy="Remove it if it is not hotdesk's; hotdesk makes it anew.",
        ) from error


def _appear(path: Path, make: Callable[[Path], object]) -> None:
    """Make a file or folder under another name first: it appears with its rights or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    make(draft)
    try:
        if draft.is_dir():
            draft.rename(path)
        else:
            path.hardlink_to(draft)
    except OSError:  # somebody was faster
        if not path.exists():
            raise
    finally:
        if draft.is_dir():
            draft.rmdir()
        elif draft.exists():
            draft.unlink()


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
