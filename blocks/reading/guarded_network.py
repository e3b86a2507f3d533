"""Connections that end at a public address, in bounded time, after bounded bytes.

A name is resolved here, every address it has is judged, and the connection goes to the very address that was judged:
between the look and the use there is no second look-up that could say something else. TLS still checks the name.
What is sent and how an answer is read is left to `fetch`.
"""

import ipaddress
import os
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from governor.errors import BadInput

# An operator's own hosts, `host` or `host:port`, by commas: they are reached wherever they lie, on any port.
OWN_HOSTS = "HOTDESK_FETCH_HOSTS"
# RFC 6052 and RFC 8215: an IPv4 address inside an IPv6 one, which a gateway would take to any network.
TRANSLATED = tuple(ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"))
CONNECT_SECONDS = 10.0
# A name with more addresses than this is not tried through to its last one.
MOST_ADDRESSES = 4
UNTOUCHED = "The agent wrote nothing; its earlier outputs are untouched."


# Host, port, seconds -> addresses.
Resolve = Callable[[str, int, float], list[str]]


class Budget:
    """How long one fetch may last with all its hops, and how many bytes may come over the wire."""

    def __init__(self, seconds: float, most_bytes: int) -> None:
        self._until = time.monotonic() + seconds
        self._bytes = most_bytes

    def seconds(self, most: float | None = None) -> float:
        """What is left, at most `most`.

        Raises:
            httpcore.ReadTimeout: nothing.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("it took too long as a whole")
        return left if most is None else min(left, most)

    def spend(self, count: int) -> None:
        """Count what came.

        Raises:
            httpcore.ReadError: it was more than there may be.
        """
        self._bytes -= count
        if self._bytes < 0:
            raise httpcore.ReadError("it sends more than it may")


class GuardedStream(httpcore.NetworkStream):
    """A connection under a budget: one that gives a byte now and then ends like one that gives none."""

    def __init__(self, stream: httpcore.NetworkStream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """At most so many bytes."""
        data = self._stream.read(max_bytes, self._budget.seconds(timeout))
        self._budget.spend(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of it."""
        self._stream.write(buffer, self._budget.seconds(timeout))

    def close(self) -> None:
        """End it."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same, encrypted; the certificate must be for the name, not for the address."""
        inner = self._stream.start_tls(ssl_context, server_hostname, self._budget.seconds(timeout))
        return GuardedStream(inner, self._budget)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks about the socket."""
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to public addresses only. `own`: whether an operator's own host may be reached."""

    def __init__(self, budget: Budget, *, own: bool, resolve: Resolve | None = None) -> None:
        self._budget = budget
        self._own = own
        self._resolve = resolve or resolved

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to an address of this host that was judged.

        Raises:
            BadInput: one of its addresses is none of the public internet.
        """
        addresses = self._resolve(host, port, self._budget.seconds(CONNECT_SECONDS))
        if not (self._own and is_own(host, port)):
            for address in addresses:
                refuse_inner(host, port, address)
        failed: Exception = httpcore.ConnectError("it has no address")
        for address in addresses[:MOST_ADDRESSES]:
            try:
                seconds = self._budget.seconds(timeout)
                stream = httpcore.SyncBackend().connect_tcp(address, port, seconds, local_address, socket_options)
                return GuardedStream(stream, self._budget)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Never."""
        raise httpcore.UnsupportedProtocol("no sockets of this machine")


def resolved(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a name, in the system's order. The system's look-up has no time limit, so a thread waits for it.

    Raises:
        httpcore.ConnectError: there is none. httpcore.ConnectTimeout: nobody said in time.
    """
    said: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            said.put(list(dict.fromkeys(str(row[4][0]) for row in rows)))
        except (OSError, UnicodeError) as error:
            said.put(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        found = said.get(timeout=seconds)
    except queue.Empty:
        raise httpcore.ConnectTimeout("its name was not resolved in time") from None
    if isinstance(found, Exception):
        raise httpcore.ConnectError(f"its name cannot be resolved ({found})") from found
    return found


def inner(address: str) -> str:
    """Why an address is none of the public internet; '' when it is one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "no address"
    if isinstance(ip, ipaddress.IPv6Address):
        translated = any(ip in net for net in TRANSLATED)
        if translated or ip.ipv4_mapped is not None or ip.sixtofour is not None or ip.teredo is not None:
            return "an IPv4 address inside an IPv6 one" if int(ip) > 1 else "of this machine"
        if ip.is_site_local:
            return "private"
    kinds = {"of this machine": ip.is_loopback, "link-local": ip.is_link_local, "multicast": ip.is_multicast}
    kinds |= {"unspecified": ip.is_unspecified, "reserved": ip.is_reserved, "private": not ip.is_global}
    return next((kind for kind, holds in kinds.items() if holds), "")


def refuse_inner(host: str, port: int, address: str) -> None:
    """Let a public address pass.

    Raises:
        BadInput: it is none.
    """
    if kind := inner(address):
        raise BadInput(
            f"The host {host} is not read: its address {address} is {kind}, and only the public internet is read.",
            means=UNTOUCHED,
            remedy=f"If it is a host of your own, allow it: set {OWN_HOSTS}={named(host, port)}.",
            host=host,
            address=address,
        )


def named(host: str, port: int) -> str:
    """A host and its port as `OWN_HOSTS` names them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_own(host: str, port: int) -> bool:
    """Whether the operator said that this host is his; exact names only, no patterns."""
    said = {part.strip().lower() for part in os.environ.get(OWN_HOSTS, "").split(",")}
    both = named(host.lower(), port)
    return both in said or both.rpartition(":")[0] in said
