"""Proof of life across pid namespaces: a lock that the kernel drops when its process ends.

A pid of another namespace (a container on the same state folder) says nothing here, so `/proc` cannot
judge it. But locks belong to files and not to pids: each process that joins a line keeps a POSIX lock on
a file named after its identity, and whoever finds that lock free knows that the process is gone. Where
there is no such file nothing is known, and unknown is never dead.
"""

import fcntl
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from governor.processes import Identity, Life, boot_id, identify, life, pid_namespace
from governor.settings import home


def announce(folder: Path | None = None) -> Identity:
    """Keep this process's lock from now on, once; its identity. A fork announces itself anew."""
    return _announce(folder or home().presence, os.getpid())


@lru_cache(maxsize=8)
def _announce(folder: Path, _pid: int) -> Identity:
    me = identify()
    with suppress(OSError):  # a read-only disk: then only those in this namespace can judge us
        folder.mkdir(mode=0o700, exist_ok=True)
        draft = folder / f".{os.getpid()}-{me.start_ticks}.draft"
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(_file(folder, me))  # it appears locked; the handle stays open until the process ends
    return me


def judge(process: Identity, folder: Path | None = None) -> Life:
    """Whether that very process still runs, also when it lives in another pid namespace of this boot."""
    known = life(process)
    if known is not Life.UNKNOWN or process.boot_id != boot_id() or process.pid_namespace == pid_namespace():
        return known
    try:
        # Reading access does for a shared lock; never our own file: closing it would drop our lock.
        handle = os.open(_file(folder or home().presence, process), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Life.UNKNOWN
    try:
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return Life.ALIVE
    finally:
        os.close(handle)
    return Life.DEAD


def sweep(folder: Path | None = None) -> int:
    """Remove the files of dead processes of this namespace and of other boots; how many.

    That of another namespace stays: without it its death could not be told any more.
    """
    done = 0
    for path in (folder or home().presence).glob("*_*_*_*"):
        with suppress(ValueError):  # not one of ours
            boot, namespace, pid, start = path.name.split("_")
            if life(Identity(boot, namespace, int(pid), int(start))) is Life.DEAD:
                path.unlink(missing_ok=True)
                done += 1
    return done


def _file(folder: Path, process: Identity) -> Path:
    return folder / f"{process.boot_id}_{process.pid_namespace}_{process.pid}_{process.start_ticks}"
