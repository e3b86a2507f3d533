"""JSON over HTTP to an engine that is a server: bounded in time and size, and past every proxy.

Plain http.client: no certificates are read for the loopback address, and a request that runs can be broken
off from outside by shutting its socket down, which is how an engine learns that nobody waits any more.
Knows no engine; what an error means to a person is said in `unusable`.
"""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from governor.engines.protocol import Watch, unwatched
from governor.errors import HotdeskError, ModelFailed, NotReady
from governor.policy.facts import ModelSpec

# Answered in milliseconds even while an engine generates; the rest is patience with a busy machine.
ASK_SECONDS = 2.0
# The Protocol's tenth of a second between two calls of `watch`; also how often a list is asked again.
SLICE_SECONDS = 0.1
# The longest answer is a list of models, some kB each; past this it is not an engine that speaks.
MOST_BYTES = 16 * 1024 * 1024
# Too many requests, and service unavailable: what engines say when their queue is full.
QUEUE_FULL = (429, 503)


class Fault(StrEnum):
    """Why there is no answer to use."""

    ABSENT = "absent"  # nobody listens there, or the address is none
    LATE = "late"  # not within the time given
    BROKEN = "broken"  # the connection ended, or it was not JSON
    REFUSED = "refused"  # an answer with an error status


class WireError(Exception):
    """No answer that can be used. `status` and `text` are those of the answer, None and '' without one."""

    def __init__(self, fault: Fault, why: str, *, status: int | None = None, text: str = "") -> None:
        super().__init__(why)
        self.fault = fault
        self.status = status
        self.text = text


@dataclass(frozen=True)
class Wire:
    """One server: its base URL without a path, and the bearer token it wants, if any. Opens nothing by itself."""

    address: str
    api_key: str | None = field(default=None, repr=False)

    def get(self, path: str, *, seconds: float = ASK_SECONDS) -> Any:
        """JSON of a GET. Raises WireError."""
        return self.watched("GET", path, seconds=seconds)

    def post(self, path: str, body: Any = None, *, seconds: float = ASK_SECONDS) -> Any:
        """JSON of the answer to a POST of `body` as JSON (None: an empty object). Raises WireError."""
        return self.watched("POST", path, {} if body is None else body, seconds=seconds)

    def found(self, path: str, *, seconds: float = ASK_SECONDS) -> Any | None:
        """JSON of a GET, None when there is no answer to use."""
        try:
            return self.get(path, seconds=seconds)
        except WireError:
            return None

    def watched(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        seconds: float,
        watch: Watch = unwatched,
        pids: Callable[[], Sequence[int]] = tuple,
        plain: bool = False,
    ) -> Any:
        """JSON of the answer; until it is whole, `watch(pids())` is called at once and every tenth of a second.

        Past `seconds`, on what `watch` raises and on a signal, the connection is broken off: the server
        sees that its client went away. An answer with an empty body is None; with `plain` it is the text,
        JSON or not.

        Raises:
            WireError: no answer to use. Whatever `watch` raises.
        """
        deadline = time.monotonic() + seconds
        call = _Call(self, method, path, body, min(seconds, ASK_SECONDS))
        try:
            watch(pids())  # before anything is sent: what it refuses at once has never begun
            call.thread.start()
            while not call.ended.wait(min(SLICE_SECONDS, max(0.0, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    raise WireError(Fault.LATE, f"no whole answer from {self.address} within {seconds:.1f} s")
                watch(pids())
        finally:
            call.break_off()
        return call.text() if plain else call.json()


class _Call:
    """One request on a connection of its own, in a thread, so that its caller stays able to end it."""

    def __init__(self, wire: Wire, method: str, path: str, body: Any, connect_seconds: float) -> None:
        self._wire, self._method, self._path, self._body = wire, method, path, body
        self._line, base = _connected(wire.address, connect_seconds)
        self._path = base + path
        # Kept here: http.client lets go of its own once the answer's head has been read.
        self._socket = self._line.sock
        self._socket.settimeout(None)
        self._answer: tuple[int, bytes] | None = None
        self._error: Exception | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="engine call", daemon=True)

    def _run(self) -> None:
        try:
            headers = {"Content-Type": "application/json", "Connection": "close"}
            if self._wire.api_key:
                headers["Authorization"] = f"Bearer {self._wire.api_key}"
            payload = None if self._body is None else json.dumps(self._body).encode()
            self._line.request(self._method, self._path, payload, headers)
            answer = self._line.getresponse()
            self._answer = answer.status, answer.read(MOST_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._error = error
        finally:
            self.ended.set()

    def break_off(self) -> None:
        """End it if it still runs, which is at once; safe when it ended."""
        with contextlib.suppress(OSError):  # the other side was first
            self._socket.shutdown(socket.SHUT_RDWR)
        if self.thread.is_alive():
            self.thread.join(ASK_SECONDS)
        self._line.close()

    def text(self) -> str:
        if self._answer is None:
            raise WireError(Fault.BROKEN, f"{self._wire.address} broke off: {self._error!r}") from self._error
        status, payload = self._answer
        text = payload.decode(errors="replace")
        if not 200 <= status < 300:
            said = f"{self._wire.address} answered {status}: {text[:200]}"
            raise WireError(Fault.REFUSED, said, status=status, text=text)
        return text

    def json(self) -> Any:
        text = self.text()
        try:
            return json.loads(text) if text.strip() else None
        except (ValueError, RecursionError) as error:  # the latter: a list in a list in a list
            raise WireError(Fault.BROKEN, f"{self._wire.address} answered no JSON: {text[:80]!r}", text=text) from error


def _connected(address: str, seconds: float) -> tuple[http.client.HTTPConnection, str]:
    """An open connection, and the path that stands in the address."""
    try:
        where = urlsplit(address)
        kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
        if not where.hostname:  # a row whose load never ended
            raise ValueError("it names no host")
        line = kind(where.hostname, where.port, timeout=seconds)
        line.connect()
    except TimeoutError as error:
        raise WireError(Fault.ABSENT, f"{address} takes no connection") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise WireError(Fault.ABSENT, f"nobody answers at {address}: {error}") from error
    return line, where.path.rstrip("/")


def time_left(deadline: float) -> float:
    """Seconds until `deadline` (of the monotonic clock). Raises WireError: there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise WireError(Fault.LATE, "the time given is over")
    return left


def wait_until(
    done: Callable[[], bool],
    seconds: float,
    *,
    watch: Watch = unwatched,
    pids: Callable[[], Sequence[int]] = tuple,
) -> bool:
    """Ask `done` every tenth of a second until it says yes, at most `seconds`; `watch` is called in between."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        watch(pids())
        time.sleep(SLICE_SECONDS)
    return True


def unusable(error: WireError, spec: ModelSpec, *, remedy: str, missing: str | None = None) -> HotdeskError:
    """What a load that got no usable answer means to a person.

    `remedy` says how its server is started, `missing` how a model is given to it (None: 404 means nothing
    special to this engine). A server that is not there and a model that it lacks are NotReady; everything
    else is ModelFailed, worth asking again when its queue was full, it was late or it broke off.
    """
    if error.fault is Fault.ABSENT:
        return NotReady(f"The engine {spec.engine} cannot be asked: {error}.", remedy=remedy, engine=spec.engine)
    if error.status == http.client.NOT_FOUND and missing is not None:
        return NotReady(f"{spec.engine} does not have {spec.source}.", remedy=missing, engine=spec.engine)
    if error.status in QUEUE_FULL:
        return failed(spec, f"says that its queue is full ({error.status})", retryable=True)
    if error.fault is Fault.LATE:
        return failed(spec, "did not load it in time", retryable=True)
    if error.fault is Fault.BROKEN:
        return failed(spec, f"broke off ({error})", retryable=True)
    return failed(spec, f"answered {error.status}: {error.text[:200]}", retryable=(error.status or 0) >= 500)


def failed(spec: ModelSpec, what: str, *, retryable: bool) -> ModelFailed:
    """ModelFailed with what this engine did or said about `spec`."""
    return ModelFailed(
        f"The engine {spec.engine} {what} ({spec.source}).",
        means="Nothing was asked of the model.",
        remedy="See the engine's own log; `hotdesk status` shows what is in memory.",
        engine=spec.engine,
        model=spec.model,
        retryable=retryable,
    )
