"""A FAKE cloud tier: HTTP on the loopback address, scripted scene by scene, no model behind it.

It speaks OpenAI's chat completions and Gemini's streamGenerateContent (told apart by the path), so that litellm's
translation is what is tested. It counts every request and keeps every body as it came in: what is not in there never
left. Processes other than the one that serves it reach it by its address.
"""

import json
import math
import select
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.fakes.cloud_texts import TOO_FAST
from tests.fakes.http_server import Exchange, FakeServer

Scene = Callable[["FakeCloudTier", Exchange], None]
TOKENS_IN = 7
# More than the 5 that a server lets wait for its `accept`: fifty processes may call at once.
BACKLOG = 256


class FakeCloudTier(FakeServer):
    """Plays one scene for each request, the last one for ever.

    Attributes:
        bodies: every request as it came in. keys: the key of each. hits: how many there were.
        refused: how many of them were beyond what it allows.
    """

    def __init__(self, *scenes: Scene) -> None:
        super().__init__()
        self._server.socket.listen(BACKLOG)
        self._scenes, self._lock = list(scenes), threading.Lock()
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.client_left = threading.Event()
        self.refused = 0

    @property
    def hits(self) -> int:
        return len(self.bodies)

    @property
    def words(self) -> str:
        """All that it was ever sent, to look for what should not be there."""
        return json.dumps(self.bodies, ensure_ascii=False)

    def plays(self, *scenes: Scene) -> None:
        """From now on."""
        with self._lock:
            self._scenes = list(scenes)

    def answer(self, exchange: Exchange) -> None:
        with self._lock:
            self.bodies.append(exchange.body)
            self.keys.append(_key(exchange))
            scene = self._scenes.pop(0) if len(self._scenes) > 1 else self._scenes[0]
        scene(self, exchange)


def says(*pieces: str, finish: str = "stop", counts: bool = True) -> Scene:
    """A whole answer. `counts`: it tells what it used."""

    def scene(_fake: FakeCloudTier, exchange: Exchange) -> None:
        if not _is_gemini(exchange) and not exchange.body.get("stream"):
            exchange.send_json(200, _at_once("".join(pieces), finish, len(pieces) if counts else None))
            return
        exchange.start_stream("text/event-stream")
        for text in _events(exchange, pieces, finish, counts=counts):
            exchange.send_chunk(text)

    return scene


def drips(*pieces: str, every_seconds: float) -> Scene:
    """A whole answer, slowly."""

    def scene(_fake: FakeCloudTier, exchange: Exchange) -> None:
        exchange.start_stream("text/event-stream")
        for text in _events(exchange, pieces, "stop"):
            exchange.send_chunk(text)
            time.sleep(every_seconds)

    return scene


def begins_and_ends(*pieces: str) -> Scene:
    """The stream ends in good order and in the middle of the answer."""

    def scene(_fake: FakeCloudTier, exchange: Exchange) -> None:
        exchange.start_stream("text/event-stream")
        for piece in pieces:
            exchange.send_chunk(_piece(exchange, piece))

    return scene


def begins_and_breaks(*pieces: str) -> Scene:
    """The connection ends in the middle of the answer, with more promised."""

    def scene(_fake: FakeCloudTier, exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Type", "text/event-stream")
        exchange.send_header("Content-Length", "100000")
        exchange.end_headers()
        for piece in pieces:
            exchange.send_chunk(_piece(exchange, piece))

    return scene


def hangs(fake: FakeCloudTier, exchange: Exchange) -> None:
    """Not a byte until the client hangs up."""
    readable, _, _ = select.select([exchange.connection], [], [], 20)
    if readable and exchange.connection.recv(1) == b"":
        fake.client_left.set()


def begins_and_hangs(fake: FakeCloudTier, exchange: Exchange) -> None:
    """One piece, then nothing until the client hangs up."""
    exchange.start_stream("text/event-stream")
    exchange.send_chunk(_piece(exchange, "Once"))
    hangs(fake, exchange)


def drops(_fake: FakeCloudTier, exchange: Exchange) -> None:
    """The connection ends without a byte."""
    exchange.connection.close()


def refuses(status: int, body: Any, **headers: str) -> Scene:
    """An error answer. Headers by name, `_` for `-`; a body that is a text is sent as HTML."""

    def scene(_fake: FakeCloudTier, exchange: Exchange) -> None:
        kind = "text/html" if isinstance(body, str) else "application/json"
        payload = (body if isinstance(body, str) else json.dumps(body)).encode()
        exchange.send_response(status)
        exchange.send_header("Content-Type", kind)
        exchange.send_header("Content-Length", str(len(payload)))
        for name, value in headers.items():
            exchange.send_header(name.replace("_", "-"), value)
        exchange.end_headers()
        exchange.wfile.write(payload)

    return scene


def streams(*lines: str, kind: str = "text/event-stream") -> Scene:
    """Whatever it is, as it is."""

    def scene(_fake: FakeCloudTier, exchange: Exchange) -> None:
        exchange.start_stream(kind)
        for line in lines:
            exchange.send_chunk(line)

    return scene


def floods(mebibytes: int, *, piece: int = 64 * 1024) -> Scene:
    """An answer that is far too long; ends early when the client hangs up."""

    def scene(fake: FakeCloudTier, exchange: Exchange) -> None:
        exchange.start_stream("text/event-stream")
        chunk = _piece(exchange, "x" * piece)
        try:
            for _ in range(mebibytes * 1024 * 1024 // piece):
                exchange.send_chunk(chunk)
        except OSError:
            fake.client_left.set()

    return scene


def allows(calls: int, *, span_seconds: float = 60.0) -> Scene:
    """So many calls in any span, counted as they come in; beyond them 429, and when to come again."""
    made: list[float] = []
    lock = threading.Lock()

    def scene(fake: FakeCloudTier, exchange: Exchange) -> None:
        now_s = time.monotonic()
        with lock:
            made[:] = [at_s for at_s in made if at_s > now_s - span_seconds]
            waits = math.ceil(made[0] + span_seconds - now_s) if len(made) >= calls else 0
            if waits:
                fake.refused += 1
            else:
                made.append(now_s)
        told = json.loads(json.dumps(TOO_FAST).replace("7.66s", f"{waits}s"))
        (refuses(429, told, Retry_After=str(waits)) if waits else says("yes"))(fake, exchange)

    return scene


def _key(exchange: Exchange) -> str:
    bearer = exchange.headers.get("Authorization", "").removeprefix("Bearer ")
    return bearer or exchange.headers.get("x-goog-api-key", "")


def _is_gemini(exchange: Exchange) -> bool:
    return "GenerateContent" in exchange.path


def _events(exchange: Exchange, pieces: tuple[str, ...], finish: str | None, *, counts: bool = True) -> Iterator[str]:
    for piece in pieces:
        yield _piece(exchange, piece)
    yield _end(exchange, finish, len(pieces) if counts else None)


def _at_once(text: str, finish: str | None, tokens: int | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    # As Groq sends it: litellm fails on an answer of its that has no `service_tier`.
    frame = {"id": "1", "object": "chat.completion", "created": 1, "model": "fake", "service_tier": "on_demand"}
    whole: dict[str, Any] = {**frame}
    whole["choices"] = [{"index": 0, "message": message, "finish_reason": finish}]
    if tokens is not None:
        counted = {"prompt_tokens": TOKENS_IN, "completion_tokens": tokens, "total_tokens": TOKENS_IN + tokens}
        whole["usage"] = counted
    return whole


def _piece(exchange: Exchange, text: str) -> str:
    if _is_gemini(exchange):
        return _data({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]})
    return _chunk([{"index": 0, "delta": {"content": text}, "finish_reason": None}])


def _end(exchange: Exchange, finish: str | None, tokens: int | None) -> str:
    if _is_gemini(exchange):
        reason = {"stop": "STOP", "length": "MAX_TOKENS"}.get(finish or "", finish)
        last: dict[str, Any] = {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": reason}]}
        if tokens is not None:
            counted = {"promptTokenCount": TOKENS_IN, "candidatesTokenCount": tokens}
            last["usageMetadata"] = {**counted, "totalTokenCount": TOKENS_IN + tokens}
        return _data(last)
    ended = _chunk([{"index": 0, "delta": {}, "finish_reason": finish}])
    if tokens is not None:
        counted = {"prompt_tokens": TOKENS_IN, "completion_tokens": tokens, "total_tokens": TOKENS_IN + tokens}
        ended += _chunk([], usage=counted)
    return ended + "data: [DONE]\n\n"


def _chunk(choices: list[dict[str, Any]], **more: Any) -> str:
    frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    return _data({**frame, "choices": choices, **more})


def _data(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"
