"""Processes of servers that are not ours, as far as this user sees them. Never a guess: unsure is empty."""

import ipaddress
from urllib.parse import urlsplit

import psutil


def here(address: str) -> bool:
    """Whether a base URL points at this machine's loopback."""
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, or no address at all
        return False


def listeners(address: str) -> tuple[int, ...]:
    """Processes that listen at a loopback address; those of other users are not seen."""
    if not here(address):
        return ()
    try:
        found = psutil.net_connections("tcp")
        port = urlsplit(address).port
    except (psutil.Error, OSError, ValueError):
        return ()
    pids = {c.pid for c in found if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port}
    return tuple(sorted(pid for pid in pids if pid))


def children_naming(server: str, word: str, address: str) -> tuple[int, ...]:
    """Children of the process called `server` at a loopback address whose command line contains `word`.

    Empty when two such servers have children like that, or when it is seen to listen elsewhere.
    """
    if not word or not here(address):
        return ()
    named = [p for p in psutil.process_iter(["ppid", "cmdline"]) if word in " ".join(p.info["cmdline"] or ())]
    parents = {p.info["ppid"] for p in named}
    if len(parents) != 1 or not _serves(parents.pop(), server, urlsplit(address).port):
        return ()
    return tuple(sorted(p.pid for p in named))


def _serves(pid: int, name: str, port: int | None) -> bool:
    try:
        process = psutil.Process(pid)
        if process.name().removesuffix(".exe") != name:
            return False
        open_ports = {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    except psutil.AccessDenied:  # another user's: its name is all that can be seen
        return True
    except psutil.Error:
        return False
    return not open_ports or port in open_ports
