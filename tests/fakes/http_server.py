"""What the fake servers share: a free loopback port, a thread, JSON in and out."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Answer = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request at a fake server; the fake's `answer` decides what is sent back."""

    answer: Answer

    def do_GET(self) -> None:
        self.body: dict[str, Any] = {}
        type(self).answer(self)

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).answer(self)

    def send_json(self, status: int, body: Any) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def start_stream(self, content_type: str) -> None:
        """A body without a length: it ends when the connection does (HTTP/1.0)."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()

    def send_chunk(self, text: str) -> None:
        self.wfile.write(text.encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class FakeServer:
    """Serves on a free loopback port while it is entered."""

    def __init__(self) -> None:
        handler = type("Handler", (Exchange,), {"answer": staticmethod(self.answer)})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def answer(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
