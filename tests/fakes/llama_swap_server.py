"""A FAKE of llama-swap: it starts no process, but a small HTTP server of its own stands for each one.

It speaks what was read in llama-swap's sources: `/running` with the states of its processes, `/v1/models`,
`/upstream/MODEL/...` which starts the process first, `/api/models/unload/MODEL` which answers `OK` as text
once the process is gone, and `/unload`, all that older versions have. A load goes on when its client leaves.
"""

import threading
from typing import Any

from tests.fakes.http_server import Exchange, FakeServer
from tests.fakes.mortal_server import MortalServer


class FakeProcess(FakeServer):
    """A FAKE of the llama-server behind one model: its health and its slots."""

    def __init__(self, context_tokens: int) -> None:
        super().__init__()
        self.context_tokens = context_tokens
        self.working = False

    def answer(self, exchange: Exchange) -> None:
        if exchange.path == "/slots":
            slot = {"id": 0, "n_ctx": self.context_tokens, "is_processing": self.working}
            exchange.send_json(200, [slot])
        else:
            exchange.send_json(200, {"status": "ok"})


class FakeLlamaSwap(MortalServer):
    """Set the attributes to make it misbehave.

    Attributes:
        configured: names of its models and the context of each. states: of the processes that are not stopped.
        old: it has no `/api/models/unload`. queue_full: answers 429.
        lists_after_unload: how many times `/running` still names a model whose unload was answered.
        has_health: whether the processes know `/health`.
    """

    def __init__(self, **configured: int) -> None:
        super().__init__()
        self.configured = configured
        self.processes: dict[str, FakeProcess] = {}
        self.states: dict[str, str] = {}
        self.old = False
        self.queue_full = False
        self.has_health = True
        self.lists_after_unload = 0
        self._stopping = threading.Condition()

    def __exit__(self, *_: object) -> None:
        for name in list(self.processes):
            self._stop(name)
        super().__exit__()

    def answer(self, exchange: Exchange) -> None:
        path = exchange.path
        if path == "/running":
            self._running(exchange)
        elif path.startswith("/upstream/"):
            self._upstream(exchange, *path.removeprefix("/upstream/").split("/", 1))
        elif path.startswith("/api/models/unload/") and not self.old:
            self._unload(path.rpartition("/")[2])
            _say(exchange, "OK")
        elif path == "/unload":
            for name in list(self.states):
                self._unload(name)
            _say(exchange, "OK")
        elif path == "/v1/chat/completions":
            self._work(exchange)
        else:
            exchange.send_json(404, {"error": "404 page not found"})

    def _work(self, exchange: Exchange) -> None:
        process = self.processes.get(exchange.body["model"])
        if process is None:
            exchange.send_json(404, {"error": "model not found"})
            return
        process.working = True
        try:
            self.complete(exchange)
        finally:
            process.working = False

    def _running(self, exchange: Exchange) -> None:
        rows = [self._row(name, state) for name, state in list(self.states.items())]
        exchange.send_json(200, {"running": rows})
        for name, state in list(self.states.items()):
            if state == "stopping":
                self.lists_after_unload -= 1
                if self.lists_after_unload <= 0:
                    self._stop(name)

    def _row(self, name: str, state: str) -> dict[str, Any]:
        process = self.processes.get(name)
        about = {"cmd": "llama-server", "ttl": 0, "name": "", "description": ""}
        return {"model": name, "state": state, "proxy": process.address if process else "", **about}

    def _upstream(self, exchange: Exchange, name: str, path: str) -> None:
        if self.queue_full:
            exchange.send_json(429, {"error": "too many requests"})
        elif name not in self.configured:
            exchange.send_json(404, {"error": "model not found"})
        elif self.breaks_off:
            exchange.send_json(502, {"error": "upstream command exited prematurely", "src": "llama-swap"})
        elif not self._started(name):
            exchange.send_json(502, {"error": "process was stopped", "src": "llama-swap"})
        elif path == "health" and not self.has_health:
            exchange.send_json(404, {"error": "not found"})
        else:
            exchange.send_json(200, {"status": "ok"})

    def _started(self, name: str) -> bool:
        """The process is ready, and listened before that; False when it was stopped while it started."""
        if name not in self.states:
            self.processes[name] = FakeProcess(self.configured[name]).__enter__()
            self.states[name] = "starting"
            with self._stopping:
                self._stopping.wait(self.load_seconds)
            if name not in self.states:
                return False
            self.states[name] = "ready"
        return True

    def _unload(self, name: str) -> None:
        if self.lists_after_unload and name in self.states:
            self.states[name] = "stopping"
        else:
            self._stop(name)

    def _stop(self, name: str) -> None:
        self.states.pop(name, None)
        with self._stopping:
            self._stopping.notify_all()
        process = self.processes.pop(name, None)
        if process:
            process.__exit__()


def _say(exchange: Exchange, text: str) -> None:
    exchange.start_stream("text/plain")
    exchange.send_chunk(text)
