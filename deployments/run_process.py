"""The process of a run as its record on the server names it: host, pid and start time, one word.

Prefect keeps that word (`infrastructure_pid`) as it is. A pid alone lies: the next process gets it.
"""

import os
import socket
from signal import Signals

from governor.processes import PROC, Identity, Life, boot_id, identify, life, pid_namespace


def named(pid: int) -> str:
    """HOST:PID:TICKS; HOST:PID for a process that has ended already."""
    try:
        return f"{socket.gethostname()}:{pid}:{identify(pid).start_ticks}"
    except ProcessLookupError:
        return f"{socket.gethostname()}:{pid}"


def is_elsewhere(name: str) -> bool:
    """Whether it is, or may be, a process of another host: nothing is known of it here."""
    host, colon, _ = name.partition(":")
    return not colon or host != socket.gethostname()


def identity_of(name: str) -> Identity | None:
    """That very process of this host; None where the word does not say which."""
    parts = name.split(":")
    if is_elsewhere(name) or len(parts) != 3 or not all(part.isdecimal() for part in parts[1:]):
        return None
    # Its boot is not named: after another one the start time is another, or the pid is free.
    return Identity(boot_id(), pid_namespace(), int(parts[1]), int(parts[2]))


def is_gone(name: str) -> bool:
    """Whether it is proven dead. Without a start time any process of that number counts as it."""
    if (identity := identity_of(name)) is not None:
        return life(identity) is Life.DEAD
    pid = name.partition(":")[2]
    return not is_elsewhere(name) and pid.isdecimal() and not _exists(int(pid))


def hears(pid: int, sign: Signals) -> bool:
    """Whether a process handles or ignores a signal; another one, and one that cannot be read, would be ended by it."""
    try:
        lines = (PROC / str(pid) / "status").read_text().splitlines()
    except OSError:
        return False
    masks = [int(line.split()[1], 16) for line in lines if line.startswith(("SigCgt:", "SigIgn:"))]
    return any(mask >> (sign - 1) & 1 for mask in masks)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
