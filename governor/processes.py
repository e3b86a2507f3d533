"""Who a process is: boot id, pid namespace, pid and raw start time. A bare pid lies.

psutil calls a killed but unreaped child running and its create_time moves with the clock, so on
Linux `/proc` is read directly; elsewhere psutil's start time stands in and the namespace is empty.
"""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

import psutil

PROC = Path("/proc")
STATE_FIELD, START_FIELD = 0, 19  # of /proc/PID/stat after the command's closing bracket: fields 3 and 22


class Life(StrEnum):
    """What is known of a process. Unknown is never treated as dead."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Identity:
    """One process, never another one that got the same pid later."""

    boot_id: str
    pid_namespace: str
    pid: int
    start_ticks: int


@lru_cache(maxsize=1)
def boot_id() -> str:
    """This boot of this machine; where the kernel does not say, the boot time to the minute."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"boot-{int(psutil.boot_time() // 60)}"


def pid_namespace() -> str:
    """Inode of this process's pid namespace, '' where there is none."""
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _stat(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def identify(pid: int | None = None) -> Identity:
    """Identity of `pid`, or of this process.

    Raises:
        ProcessLookupError: there is no such process.
    """
    pid = pid or os.getpid()
    try:
        start = int(_stat(pid)[START_FIELD]) if PROC.is_dir() else int(psutil.Process(pid).create_time() * 100)
    except (OSError, psutil.Error) as error:
        raise ProcessLookupError(f"no process {pid}") from error
    return Identity(boot_id(), pid_namespace(), pid, start)


def life(identity: Identity) -> Life:
    """Whether that very process still runs. Dead: gone, another start time, state Z or X, another boot."""
    if identity.boot_id != boot_id():
        return Life.DEAD
    if identity.pid_namespace != pid_namespace():
        return Life.UNKNOWN
    try:
        if not PROC.is_dir():
            return Life.ALIVE if identify(identity.pid) == identity else Life.DEAD
        fields = _stat(identity.pid)
    except (FileNotFoundError, ProcessLookupError):
        return Life.DEAD
    except OSError:
        return Life.UNKNOWN
    same = int(fields[START_FIELD]) == identity.start_ticks
    return Life.ALIVE if same and fields[STATE_FIELD] not in "ZX" else Life.DEAD


def is_running(pid: int) -> bool:
    """Whether a process of that number runs here, for numbers that nobody identified. What is unreaped runs not."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # another user's
        return True


def end(identity: Identity, *, grace_seconds: float = 10.0, group: bool = False) -> bool:
    """SIGTERM, wait, SIGKILL, wait; True once the process is proven dead. `group` signals its process group.

    The identity is compared before every signal, so a pid that was reused is never touched, nor one
    that cannot be judged from here (another pid namespace): that one is not called dead either.
    """
    for sign, wait_seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
        if (known := life(identity)) is not Life.ALIVE:
            return known is Life.DEAD
        try:
            (os.killpg if group else os.kill)(identity.pid, sign)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        if wait_dead(identity, wait_seconds):
            return True
    return False


def wait_dead(identity: Identity, seconds: float) -> bool:
    """Wait until the process is dead, at most `seconds`; reaps it where it is our child."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            os.waitpid(identity.pid, os.WNOHANG)
        if life(identity) is Life.DEAD:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
