"""One answer of the web: which addresses are asked at all, hop by hop, and how much of a body is unpacked.

Connections are `guarded_network`'s; what is kept and what a site asks of robots is left to `fetch`.
"""

import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

import httpcore
import httpx

from blocks.reading.guarded_network import CONNECT_SECONDS, OWN_HOSTS, UNTOUCHED, Budget, GuardedBackend, is_own, named
from governor.errors import BadInput

PORTS = frozenset({80, 443, 8080, 8443})
DEFAULT_PORTS = {"http": 80, "https": 443}
MOST_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_SECONDS = 10.0
# RFC 9110 names no bound; browsers and servers take about 8000 characters.
MOST_ADDRESS_CHARACTERS = 8000
# gzip with its head, and zlib: zlib's own way to say that it should find out.
GZIP_OR_ZLIB, RAW_DEFLATE = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
TROUBLE = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
    OSError,
)
Headers = Mapping[str, str]


def user_agent() -> str:
    """Who asks, as sites see it."""
    try:
        return f"hotdesk/{version('hotdesk')}"
    except PackageNotFoundError:
        return "hotdesk"


def unfit(address: str, why: str, remedy: str = "Correct the address in `source`.") -> BadInput:
    """An address that gives nothing we can use."""
    return BadInput(
        f"The address {address[:300]!r} cannot be read: {why}.", means=UNTOUCHED, remedy=remedy, source=address
    )


def target(address: str) -> httpx.URL:
    """An address that may be asked: http or https, a host, no password, one of the web's ports or an own host.

    Raises:
        BadInput: it is none. Where its host lies is judged when it is connected to.
    """
    try:
        url = httpx.URL(address[: MOST_ADDRESS_CHARACTERS + 1])
    except (httpx.InvalidURL, ValueError) as error:
        raise unfit(address, f"it is no address ({error})") from error
    if len(address) > MOST_ADDRESS_CHARACTERS or url.scheme not in DEFAULT_PORTS or not url.host:
        raise unfit(address, "only http and https addresses of ordinary length are read")
    if url.userinfo:
        raise unfit(str(url.copy_with(userinfo=b"")), "it carries a name or password", "Write it without them.")
    port = port_of(url)
    if port not in PORTS and not is_own(url.host, port):
        own = f"If it is a host of your own, allow it: set {OWN_HOSTS}={named(url.host, port)}."
        raise unfit(address, f"port {port} is none of the web's ({', '.join(map(str, sorted(PORTS)))})", own)
    return url.copy_with(fragment=None)


def port_of(url: httpx.URL) -> int:
    """Its port, said or not."""
    return url.port or DEFAULT_PORTS[url.scheme]


def next_hop(url: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect leads.

    Raises:
        BadInput: nowhere we would go: what came encrypted does not go on in the open.
    """
    try:
        onward = target(str(url.join(location[: MOST_ADDRESS_CHARACTERS + 1])))
    except (httpx.InvalidURL, ValueError) as error:
        raise unfit(str(url), f"it redirects to what is no address ({error})") from error
    if url.scheme == "https" and onward.scheme == "http":
        raise unfit(str(url), "it redirects from https to http")
    return onward


@contextmanager
def answer_to(
    method: str, address: str, budget: Budget, *, before_hop: Callable[[httpx.URL], Headers] = lambda _: {}
) -> Iterator[tuple[httpcore.Response, httpx.URL]]:
    """The answer after at most `MOST_REDIRECTS` redirects, body unread, and the address that gave it.

    Args:
        before_hop: says what headers go to this address, or raises when it may not be asked.

    Raises:
        BadInput: a hop is refused, or there are too many. One of `TROUBLE`: the network's.
    """
    url = first = target(address)
    for _ in range(MOST_REDIRECTS + 1):
        elsewhere = url.host != first.host or port_of(url) not in (port_of(first), DEFAULT_PORTS["https"])
        own = is_own(url.host, port_of(url))
        if own and elsewhere:
            raise unfit(address, f"it redirects to {named(url.host, port_of(url))}, which is for who names it only")
        headers = {"User-Agent": user_agent(), "Accept": "*/*", "Accept-Encoding": "gzip, deflate", **before_hop(url)}
        backend = GuardedBackend(budget, own=own)
        with (
            httpcore.ConnectionPool(ssl_context=_tls(url), network_backend=backend, retries=0) as pool,
            pool.stream(method, str(url), headers=list(headers.items()), extensions=_timeouts()) as answer,
        ):
            location = header(answer, "location")
            if answer.status not in REDIRECTS or not location:
                yield answer, url
                return
        url = next_hop(url, location)
    raise unfit(address, f"it redirects more than {MOST_REDIRECTS} times")


def _tls(url: httpx.URL) -> ssl.SSLContext | None:
    """The machine's own certificates where it names some (SSL_CERT_FILE); made only for who needs it."""
    return httpx.create_ssl_context() if url.scheme == "https" else None


def _timeouts() -> dict[str, dict[str, float]]:
    return {"timeout": {"connect": CONNECT_SECONDS, "read": READ_SECONDS, "write": READ_SECONDS, "pool": READ_SECONDS}}


def header(answer: httpcore.Response, name: str) -> str:
    """A header's value, '' where it is missing."""
    found = (value for key, value in answer.headers if key.lower() == name.encode())
    return next(found, b"").decode("latin-1").strip()


def body(answer: httpcore.Response, most_bytes: int) -> tuple[bytes, bool]:
    """The body unpacked, at most so much of it, and whether that is all. What is not wanted is never unpacked.

    Raises:
        ValueError: it is packed in a way that was not asked for, or broken.
    """
    unpacker = Unpacker(header(answer, "content-encoding").lower())
    out = bytearray()
    for piece in answer.iter_stream():
        out += unpacker.unpack(piece, most_bytes - len(out) + 1)
        if len(out) > most_bytes:
            return bytes(out[:most_bytes]), False
    if unpacker.is_cut:
        raise ValueError("what it sends ends in the middle")
    return bytes(out), True


class Unpacker:
    """Unpacks no more than is wanted, piece by piece.

    Raises:
        ValueError: an encoding that was not asked for, such as one packed in another.
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ValueError(f"it is packed as {encoding[:40]!r}")
        self._inflater = None if encoding in ("", "identity") else zlib.decompressobj(GZIP_OR_ZLIB)
        self._begun = False
        # Some servers say deflate and send it bare (RFC 9110, 8.4.1.2).
        self._may_be_bare = encoding == "deflate"

    @property
    def is_cut(self) -> bool:
        """Whether more should have come."""
        return self._inflater is not None and self._begun and not self._inflater.eof

    def unpack(self, piece: bytes, most: int) -> bytes:
        """What the next piece holds, at most so many bytes; who got so many must stop.

        Raises:
            ValueError: it is broken.
        """
        if self._inflater is None:
            return piece
        try:
            return self._inflate(piece, most)
        except zlib.error as error:
            raise ValueError(f"what it sends is packed wrongly ({error})") from error

    def _inflate(self, piece: bytes, most: int) -> bytes:
        assert self._inflater is not None
        try:
            data = self._inflater.decompress(piece, most)
        except zlib.error:
            if not self._may_be_bare:
                raise
            self._inflater = zlib.decompressobj(RAW_DEFLATE)
            data = self._inflater.decompress(piece, most)
        self._begun = self._begun or bool(piece)
        self._may_be_bare = self._may_be_bare and not self._begun
        # A gzip file may be several, one after the other (RFC 1952, 2.2).
        while self._inflater.eof and (rest := self._inflater.unused_data.lstrip(b"\0")) and len(data) < most:
            self._inflater = zlib.decompressobj(GZIP_OR_ZLIB)
            data += self._inflater.decompress(rest, most - len(data))
        return data
