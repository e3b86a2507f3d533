"""What one call sends and gets, watched below litellm: one request to one place, so many bytes, and how it ended.

litellm sends a prompt again when a connection breaks, follows redirects to wherever they point, asks engines about
their models and says `stop` where a stream broke off. So all that it sends goes through the transport here, which
lets out one request of the call at hand and writes down what came of it. What that means is `governor.call_errors`.
"""

import os
import re
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from ssl import SSLContext
from typing import NoReturn
from urllib.request import getproxies, proxy_bypass

import httpx

# Bytes of an answer on the wire: a frame around each token (300 bytes of OpenAI's, twice that with thoughts), and what
# stands around the whole.
WIRE_BYTES_PER_TOKEN, WIRE_BYTES_AROUND = 2048, 256 * 1024
# Of an answer with an error this much is kept: what providers say stands in its first lines.
KEPT_BYTES = 64 * 1024
# How the formats that litellm speaks say that the answer is whole: OpenAI, Gemini, Cohere and Ollama. In a text of the
# model's the quotes are escaped, so that no text can say it.
END = re.compile(rb'"(?:finish_?reason|done_reason)"\s*:\s*"\w', re.IGNORECASE)
END_BYTES = 48


class Strayed(httpx.RequestError):
    """A request that no call may make; it was not sent."""


class TooLong(httpx.RequestError):
    """The answer takes more bytes than it may; what is left of it is not read."""


@dataclass
class Wire:
    """One call: where it may go, and what became of it.

    Attributes:
        place: scheme, host and port that it may go to; None: wherever litellm knows the provider to be.
        most_bytes: of an answer. may_go: asked at the last moment, whether it is still to be sent.
        sent: whether anything of it left this machine, as far as one can know.
        unreachable: nobody was there. strayed: why a further request was not let out, '' when there was none.
        status, headers, body: of the answer; the body only where it is an error.
        ended: whether the answer said that it is whole; None where it cannot be read.
    """

    place: tuple[str, str, int | None] | None
    most_bytes: int
    may_go: Callable[[], bool] = lambda: True
    sent: bool = False
    unreachable: bool = False
    strayed: str = ""
    is_too_long: bool = False
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool | None = False
    received_bytes: int = 0
    _begun: bool = False
    _last: bytes = b""

    def begin(self, url: httpx.URL) -> None:
        """A request is about to be sent.

        Raises:
            Strayed: it is the second of the call, goes elsewhere, or is not wanted any more.
        """
        if self._begun:
            self._stray("a second request" if self.status is None else f"a second request, after {self.status}")
        if self.place is not None and place_of(url) != self.place:
            self._stray("a request to another place")
        if not self.may_go():
            self._stray("a request that nobody wants any more")
        self._begun = self.sent = True

    def never_left(self) -> None:
        """Nobody was there."""
        self.sent, self.unreachable = False, True

    def answered(self, response: httpx.Response) -> None:
        """The head of an answer came."""
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        if self.headers.get("content-encoding", "identity") != "identity":
            self.ended = None

    def received(self, chunk: bytes) -> None:
        """A piece of its body came.

        Raises:
            TooLong: there is too much of it.
        """
        self.received_bytes += len(chunk)
        if self.received_bytes > self.most_bytes:
            self.is_too_long = True
            raise TooLong("the answer is too long")
        if self.status is not None and self.status >= 400:
            self.body = (self.body + chunk)[:KEPT_BYTES]
        elif self.ended is False:
            window = self._last + chunk
            self.ended = END.search(window) is not None
            self._last = window[-END_BYTES:]

    def _stray(self, why: str) -> NoReturn:
        self.strayed = why
        raise Strayed(f"{why} is not let out")


# The call of this task; None: there is none, and nothing is let out.
WIRE: ContextVar[Wire | None] = ContextVar("wire", default=None)


def place_of(url: httpx.URL | str) -> tuple[str, str, int | None]:
    """Scheme, host and port."""
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.host, parsed.port


class WatchedTransport(httpx.AsyncBaseTransport):
    """Lets out the one request of the call at hand. Its connections are those of this process, never of its parent."""

    def __init__(self) -> None:
        self._pools: dict[tuple[int, bool, str | None], httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it and watch the answer.

        Raises:
            Strayed: it is not the first of a call that is being made, to the place that the call is for.
        """
        wire = WIRE.get()
        if wire is None:
            raise Strayed("a request of no call is not let out")
        wire.begin(request.url)
        request.headers["Accept-Encoding"] = "identity"
        try:
            response = await self._pool(request.url, wire).handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            wire.never_left()
            raise
        wire.answered(response)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _WatchedStream(response.stream, wire)
        return response

    def _pool(self, url: httpx.URL, wire: Wire) -> httpx.AsyncHTTPTransport:
        """To an engine of this machine without the environment's proxy and without kept connections: the engine closes
        them after seconds, and a call on such a one fails.
        """
        is_local = wire.place is not None
        proxy = None if is_local else proxy_for(url.scheme, url.host)
        key = (os.getpid(), is_local, proxy)
        if key not in self._pools:
            limits = httpx.Limits(max_keepalive_connections=0 if is_local else 4)
            self._pools[key] = httpx.AsyncHTTPTransport(verify=_trusted(), proxy=proxy, limits=limits, trust_env=False)
        return self._pools[key]


class _WatchedStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, wire: Wire) -> None:
        self._stream, self._wire = stream, wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._wire.received(chunk)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class NoWay(httpx.BaseTransport):
    """The way out of litellm's sync functions: there is none."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Refuse.

        Raises:
            Strayed: always.
        """
        raise Strayed("a request of a sync function is not let out")


@lru_cache
def proxy_for(scheme: str, host: str) -> str | None:
    """The environment's proxy for this address, as it was at the first call there."""
    if proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


@lru_cache(maxsize=1)
def _trusted() -> SSLContext:
    """Certificates of authorities: 20 ms to read (measured), once."""
    return httpx.create_ssl_context()
