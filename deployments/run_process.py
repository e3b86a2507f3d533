"""The process of a run as its record on the server names it: host, pid, start time, pid namespace and boot, one word.

Prefect keeps that word (`infrastructure_pid`) as it is. A pid alone lies: the next process gets it, and containers of
one host name have numbers of their own.
"""

import os
import socket
from signal import Signals

from governor.processes import PROC, Identity, Life, boot_id, identify, life, pid_namespace

BOOT_CHARACTERS = 8


def named(pid: int) -> str:
    """HOST:PID:TICKS:NAMESPACE:BOOT; HOST:PID for a process that has ended already."""
    try:
        ticks = identify(pid).start_ticks
    except ProcessLookupError:
        return f"{socket.gethostname()}:{pid}"
    return f"{socket.gethostname()}:{pid}:{ticks}:{_namespace()}:{boot_id()[:BOOT_CHARACTERS]}"


def is_elsewhere(name: str) -> bool:
    """Whether it is, or may be, a process of another host or another container: nothing is known of it here."""
    host, *rest = name.split(":")
    if not rest or host != socket.gethostname():
        return True
    return len(rest) == 4 and rest[3] == boot_id()[:BOOT_CHARACTERS] and rest[2] != _namespace()


def identity_of(name: str) -> Identity | None:
    """That very process of this host; None where the word does not say which."""
    parts = name.split(":")
    if is_elsewhere(name) or len(parts) not in (3, 5) or not all(part.isdecimal() for part in parts[1:3]):
        return None
    boot = boot_id() if len(parts) == 3 or parts[4] == boot_id()[:BOOT_CHARACTERS] else f"another: {parts[4]}"
    return Identity(boot, pid_namespace(), int(parts[1]), int(parts[2]))


def is_gone(name: str) -> bool:
    """Whether it is proven dead. Without a start time any process of that number counts as it."""
    if (identity := identity_of(name)) is not None:
        return life(identity) is Life.DEAD
    pid = name.partition(":")[2]
    return not is_elsewhere(name) and pid.isdecimal() and not _exists(int(pid))


def has_its_worker(pid: int) -> bool:
    """Whether whoever started this run's process still lives, and so watches it: a fork server, or Prefect's worker."""
    try:
        parent = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1]
        words = (PROC / parent / "cmdline").read_bytes()
    except OSError:
        return False
    return b"deployments.forking.server" in words or (b"worker" in words and b"start" in words)


def _namespace() -> str:
    return "".join(character for character in pid_namespace() if character.isdecimal())


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
