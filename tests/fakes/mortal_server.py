"""What the fake engines share beside HTTP: an end like kill -9, a load that notices its client, a hanging answer."""

import json
import select
import threading
from typing import cast

from tests.fakes.http_server import Exchange, FakeServer
from tests.fakes.openai_wire import FakeOpenAI, says

FIRST_WORD = {
    "id": "1",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "fake",
    "choices": [{"index": 0, "delta": {"content": "Once"}, "finish_reason": None}],
}


class MortalServer(FakeServer):
    """A fake engine that can end before the test does.

    Attributes:
        load_seconds: how long a load takes. breaks_off: the next loads end without an answer.
        hangs: a completion says one word, and nothing more until the server ends; `generating` is set then.
        reply: what a completion says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.load_seconds = 0.0
        self.breaks_off = False
        self.hangs = False
        self.reply = "hello"
        self.generating = threading.Event()
        self._ended = threading.Event()

    def end(self) -> None:
        """As kill -9 of it: connections break, and nobody listens any more."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def client_leaves_within(self, exchange: Exchange, seconds: float) -> bool:
        """Wait so long; True as soon as the client hung up."""
        readable, _, _ = select.select([exchange.connection], [], [], seconds)
        return bool(readable)

    def begin_and_hang(self, exchange: Exchange, content_type: str, text: str) -> None:
        """One chunk of a body, then nothing until the end; the last chunk is missing then, as behind a real kill."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        exchange.send_chunk(f"{head}{len(text.encode()):x}\r\n{text}\r\n")
        self.generating.set()
        self._ended.wait(30)

    def complete(self, exchange: Exchange) -> None:
        """OpenAI's wire format: the reply, or its beginning."""
        if not self.hangs:
            says(self.reply)(cast(FakeOpenAI, self), exchange)  # the scene does not look at its fake
            return
        self.begin_and_hang(exchange, "text/event-stream", f"data: {json.dumps(FIRST_WORD)}\n\n")
