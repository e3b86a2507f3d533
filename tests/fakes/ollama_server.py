"""A FAKE of an Ollama server: it keeps a list of models and loads none.

It speaks what was read in Ollama's sources: `/api/version`, `/api/tags`, `/api/show`, `/api/ps`, load and
unload through `/api/generate` (embedding models load through `/api/embed`), and its faults: the unload that is
answered before it happens, 503 when its queue is full, layers silently left on the CPU. A load whose client goes
away is given up, as there. `/api/pull` says what a test has written for it, line by line, and at `success` the model
is there, whatever came. `/api/chat` streams one fixed answer; `/api/embed` gives the length of each text and how
many came before it.
"""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from tests.fakes.http_server import Exchange
from tests.fakes.mortal_server import MortalServer

MIB = 1024 * 1024


def layer(weights: str, size: int, *done: int) -> list[dict[str, Any]]:
    """Lines of a pull about one file, of which so much has come."""
    about = {"status": f"pulling {weights[:12]}", "digest": f"sha256:{weights}", "total": size}
    return [about | ({"completed": here} if here else {}) for here in done]


class FakeOllama(MortalServer):
    """Set the attributes to make it misbehave.

    Attributes:
        tags: models on its disk. running: models in its memory, by name. shown: what `/api/show` adds, by name.
        embedders: those of the tags that only make vectors.
        library: what a pull brings, by tag: the sha256 of its weights, and its size in bytes.
        pulls: what the next pulls say, each a list of lines, None for a cut; one that was not foreseen is a good one.
        lists_after_unload: how many times `/api/ps` still names a model whose unload was answered.
        queue_full: answers 503. gpu_share: part of a loaded model that is on the GPU.
    """

    def __init__(self, *tags: str) -> None:
        super().__init__()
        self.tags = list(tags)
        self.embedders: set[str] = set()
        self.library: dict[str, tuple[str, int]] = {}
        self.pulls: list[list[dict[str, Any] | None]] = []
        self.sizes: dict[str, int] = {}
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
            exchange.send_json(200, {"models": [self._listed(tag) for tag in self.tags]})
        elif exchange.path == "/api/ps":
            self._ps(exchange)
        elif exchange.path == "/api/pull":
            self._pull(exchange)
        elif self.queue_full and exchange.path != "/api/show":
            exchange.send_json(503, {"error": "server busy, please try again.  maximum pending requests exceeded"})
        elif exchange.body["model"] not in self.tags:
            exchange.send_json(404, {"error": f"model '{exchange.body['model']}' not found"})
        elif exchange.path == "/api/show":
            exchange.send_json(200, self.shown.get(exchange.body["model"], {}))
        elif exchange.path == "/api/generate":
            self._load_or_unload(exchange)
        elif exchange.path == "/api/embed":
            self._embed(exchange)
        else:
            self._chat(exchange)

    def _listed(self, tag: str) -> dict[str, Any]:
        size = self.sizes.get(tag, 4700 * MIB)
        about = f"{tag} {size} {self.shown.get(tag)}"
        return {"name": tag, "model": tag, "size": size, "digest": sha256(about.encode()).hexdigest()}

    def _pull(self, exchange: Exchange) -> None:
        tag = exchange.body["model"]
        weights, size = self.library.get(tag, ("0" * 64, 1000))
        good = [{"status": "pulling manifest"}, *layer(weights, size, 0, size // 2, size), {"status": "success"}]
        exchange.start_stream("application/x-ndjson")
        for line in self.pulls.pop(0) if self.pulls else good:
            if line is None:
                exchange.connection.close()
                return
            if line.get("status") == "success":
                self.have(tag, weights, size)
            exchange.send_chunk(json.dumps(line) + "\n")

    def have(self, tag: str, weights: str, size: int) -> None:
        """Put a model on its disk."""
        self.tags += [] if tag in self.tags else [tag]
        self.sizes[tag] = size + 13_380  # its template, licence and settings
        self.shown[tag] = {"modelfile": f"# made by a fake\nFROM /models/blobs/sha256-{weights}\nTEMPLATE x"}

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
        elif name in self.embedders:
            exchange.send_json(400, {"error": f'"{name}" does not support generate'})
        elif self._loads(exchange):
            exchange.send_json(200, {"model": name, "response": "", "done": True, "done_reason": "load"})

    def _embed(self, exchange: Exchange) -> None:
        texts = exchange.body["input"]
        if texts or self._loads(exchange):
            vectors = [[float(len(text)), float(place)] for place, text in enumerate(texts)]
            tokens = sum(len(text.split()) for text in texts)
            exchange.send_json(
                200, {"model": exchange.body["model"], "embeddings": vectors, "prompt_eval_count": tokens}
            )

    def _loads(self, exchange: Exchange) -> bool:
        """Into its memory, unless the client leaves meanwhile."""
        name = exchange.body["model"]
        if self.client_leaves_within(exchange, self.load_seconds) or self.breaks_off:
            exchange.connection.close()
            return False
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
        return True

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
