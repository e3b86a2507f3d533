"""A FAKE of a llama.cpp server's `/v1/chat/completions`: scripted answers, no model behind it.

It speaks what was measured of the real one: server-sent events, the body of the context overflow, 503.
The real one is tested in `tests/integration/test_embedded_engine.py`.
"""

import json
import select
import threading
from collections.abc import Callable
from typing import Any

from tests.fakes.http_server import Exchange, FakeServer

Scene = Callable[["FakeOpenAI", Exchange], None]


class FakeOpenAI(FakeServer):
    """Plays one scene per request, the last one for ever; keeps every body it was sent."""

    def __init__(self, *scenes: Scene) -> None:
        super().__init__()
        self._scenes = list(scenes)
        self.bodies: list[dict[str, Any]] = []
        self.client_left = threading.Event()

    @property
    def parameters(self) -> dict[str, Any]:
        """As `litellm_parameters` of an engine gives them."""
        return {"model": "openai/fake", "api_base": f"{self.address}/v1", "api_key": "k", "choices_as": "grammar"}

    def answer(self, exchange: Exchange) -> None:
        self.bodies.append(exchange.body)
        scene = self._scenes.pop(0) if len(self._scenes) > 1 else self._scenes[0]
        scene(self, exchange)


def says(*pieces: str, finish: str = "stop") -> Scene:
    """A whole streamed answer, with the usage at its end."""

    def scene(_fake: FakeOpenAI, exchange: Exchange) -> None:
        exchange.start_stream("text/event-stream")
        for piece in pieces:
            exchange.send_chunk(_event(piece))
        exchange.send_chunk(_event(None, finish))
        exchange.send_chunk(_counted(len(pieces)))

    return scene


def thinks(*thoughts: str) -> Scene:
    """A model that the cap cut off while it thought: it said nothing. As llama.cpp streams its thinking."""

    def scene(_fake: FakeOpenAI, exchange: Exchange) -> None:
        exchange.start_stream("text/event-stream")
        for thought in thoughts:
            exchange.send_chunk(_piece({"reasoning_content": thought}))
        exchange.send_chunk(_event(None, "length"))
        exchange.send_chunk(_counted(len(thoughts)))

    return scene


def embeds(*vectors: Any, backwards: bool = False) -> Scene:
    """The vectors, whatever the texts are. `backwards`: the last one first, each with its number."""

    def scene(_fake: FakeOpenAI, exchange: Exchange) -> None:
        listed = [{"object": "embedding", "index": place, "embedding": one} for place, one in enumerate(vectors)]
        data = listed[::-1] if backwards else listed
        counted = {"prompt_tokens": 5, "total_tokens": 5}
        exchange.send_json(200, {"object": "list", "model": "fake", "data": data, "usage": counted})

    return scene


def refuses(status: int, error: dict[str, Any]) -> Scene:
    """An error answer."""
    return lambda _fake, exchange: exchange.send_json(status, {"error": {"code": status, **error}})


OVERFLOW = refuses(
    400,
    {
        "message": "request (5031 tokens) exceeds the available context size (2048 tokens), try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 5031,
        "n_ctx": 2048,
    },
)
BUSY = refuses(503, {"message": "Loading model", "type": "unavailable_error"})
WRONG_KEY = refuses(401, {"message": "Invalid API Key", "type": "authentication_error"})


def drops(_fake: FakeOpenAI, exchange: Exchange) -> None:
    """The connection ends without a byte."""
    exchange.connection.close()


def begins_and_hangs(fake: FakeOpenAI, exchange: Exchange) -> None:
    """One token, then nothing until the client hangs up."""
    exchange.start_stream("text/event-stream")
    exchange.send_chunk(_event("Once"))
    readable, _, _ = select.select([exchange.connection], [], [], 10)
    if readable and exchange.connection.recv(1) == b"":
        fake.client_left.set()


def _frame() -> dict[str, Any]:
    return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}


def _event(content: str | None, finish: str | None = None) -> str:
    return _piece({} if content is None else {"content": content}, finish)


def _piece(delta: dict[str, Any], finish: str | None = None) -> str:
    return _data({**_frame(), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _counted(tokens: int) -> str:
    """The usage, and the end."""
    usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
    return _data({**_frame(), "choices": [], "usage": usage}) + "data: [DONE]\n\n"


def _data(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"
