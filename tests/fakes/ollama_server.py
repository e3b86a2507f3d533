"""A FAKE of an Ollama server: it keeps a list of models and loads none.

It speaks what was read in Ollama's sources: `/api/version`, `/api/tags`, `/api/show`, `/api/ps`, load and
unload through `/api/generate`, and its faults: the unload that is answered before it happens, 503 when its
queue is full, layers silently left on the CPU. A load whose client goes away is given up, as there.
`/api/chat` streams one fixed answer.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.http_server import Exchange
from tests.fakes.mortal_server import MortalServer

MIB = 1024 * 1024


class FakeOllama(MortalServer):
    """Set the attributes to make it misbehave.

    Attributes:
        tags: models on its disk. running: models in its memory, by name. shown: what `/api/show` adds, by name.
        lists_after_unload: how many times `/api/ps` still names a model whose unload was answered.
        queue_full: answers 503. gpu_share: part of a loaded model that is on the GPU.
    """

    def __init__(self, *tags: str) -> None:
        super().__init__()
        self.tags = list(tags)
        self.running: dict[str, dict[str, Any]] = {}
        self.shown: dict[str, dict[str, Any]] = {}
        self.lists_after_unload = 0
        self.queue_full = False
        self.ps_broken = False
        self.gpu_share = 1.0
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self._leaving: dict[str, int] = {}

    def answer(self, exchange: Exchange) -> None:
        self.bodies.append((exchange.path, exchange.body))
        if exchange.path == "/api/version":
            exchange.send_json(200, {"version": "0.30.0"})
        elif exchange.path == "/api/tags":
            rows = [{"name": tag, "model": tag, "size": 4700 * MIB} for tag in self.tags]
            exchange.send_json(200, {"models": rows})
        elif exchange.path == "/api/ps":
            self._ps(exchange)
        elif self.queue_full and exchange.path != "/api/show":
            exchange.send_json(503, {"error": "server busy, please try again.  maximum pending requests exceeded"})
        elif exchange.body["model"] not in self.tags:
            exchange.send_json(404, {"error": f"model '{exchange.body['model']}' not found"})
        elif exchange.path == "/api/show":
            exchange.send_json(200, self.shown.get(exchange.body["model"], {}))
        elif exchange.path == "/api/generate":
            self._load_or_unload(exchange)
        else:
            self._chat(exchange)

    def _ps(self, exchange: Exchange) -> None:
        if self.ps_broken:
            exchange.send_json(500, {"error": "something"})
            return
        exchange.send_json(200, {"models": list(self.running.values())})
        for name in list(self._leaving):
            self._leaving[name] -= 1
            if self._leaving[name] <= 0:
                del self._leaving[name]
                self.running.pop(name, None)

    def _load_or_unload(self, exchange: Exchange) -> None:
        name = exchange.body["model"]
        if exchange.body.get("keep_alive") == 0:
            self._unload(name)
            exchange.send_json(200, {"model": name, "response": "", "done": True, "done_reason": "unload"})
            return
        if self.client_leaves_within(exchange, self.load_seconds) or self.breaks_off:
            exchange.connection.close()
            return
        size = 5000 * MIB
        self.running[name] = {
            "name": name,
            "model": name,
            "size": size,
            "size_vram": int(size * self.gpu_share),
            "digest": "0" * 64,
            "details": {},
            "expires_at": (datetime.now(UTC) + timedelta(minutes=30)).isoformat(),
            "context_length": exchange.body.get("options", {}).get("num_ctx", 4096),
        }
        exchange.send_json(200, {"model": name, "response": "", "done": True, "done_reason": "load"})

    def _unload(self, name: str) -> None:
        if not self.lists_after_unload:
            self.running.pop(name, None)
        elif name in self.running:
            self._leaving[name] = self.lists_after_unload
            self.running[name]["expires_at"] = datetime.now(UTC).isoformat()

    def _chat(self, exchange: Exchange) -> None:
        about = {"model": exchange.body["model"], "created_at": "2026-01-01T00:00:00Z"}
        said = {**about, "message": {"role": "assistant", "content": self.reply}, "done": False}
        if self.hangs:
            self.begin_and_hang(exchange, "application/x-ndjson", json.dumps(said) + "\n")
            return
        last = {
            **about,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 12,
            "eval_count": 3,
        }
        exchange.start_stream("application/x-ndjson")
        exchange.send_chunk(json.dumps(said) + "\n" + json.dumps(last) + "\n")
