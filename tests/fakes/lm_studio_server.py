"""A FAKE of LM Studio's server: it keeps a list of models and instances and loads none.

It speaks what its documentation says of `/api/v1`: the list of models with their loaded instances, load and
unload; each load makes a new instance, the second one of a model with a number behind its id. A load goes
on when its client leaves: nothing in the documentation promises otherwise.
"""

from typing import Any

from tests.fakes.http_server import Exchange
from tests.fakes.mortal_server import MortalServer


class FakeLMStudio(MortalServer):
    """Set the attributes to make it misbehave.

    Attributes:
        keys: models on its disk. instances: what is in memory, by id: model and context.
        old: `answers_404`, as servers without `/api/v1` do, or `answers_200`, as LM Studio itself does for
        a path that it does not know. queue_full: answers 503. loads: bodies of the loads.
        lists_after_unload: how many times the list still names an instance whose unload was answered.
        keys_heard: what came as authorization.
    """

    def __init__(self, *keys: str) -> None:
        super().__init__()
        self.keys = keys
        self.instances: dict[str, tuple[str, int]] = {}
        self.loads: list[dict[str, Any]] = []
        self.old = ""
        self.queue_full = False
        self.lists_after_unload = 0
        self.keys_heard: set[str | None] = set()
        self._leaving: set[str] = set()

    def answer(self, exchange: Exchange) -> None:
        path = exchange.path
        self.keys_heard.add(exchange.headers.get("Authorization"))
        if path == "/v1/chat/completions":
            self.complete(exchange)
        elif self.old == "answers_404":
            exchange.send_json(404, {"error": "not found"})
        elif self.old == "answers_200":
            exchange.send_json(200, {"error": f"Unexpected endpoint or method. (GET {path})"})
        elif path == "/api/v1/models":
            self._list(exchange)
        elif self.queue_full:
            exchange.send_json(503, {"error": {"message": "busy"}})
        elif path == "/api/v1/models/load":
            self._load(exchange)
        else:
            self._unload(exchange)

    def _list(self, exchange: Exchange) -> None:
        exchange.send_json(200, {"models": [self._row(key) for key in self.keys]})
        if self._leaving:
            self.lists_after_unload -= 1
        if self.lists_after_unload <= 0:
            for instance in self._leaving:
                self.instances.pop(instance, None)
            self._leaving.clear()

    def _row(self, key: str) -> dict[str, Any]:
        loaded = [
            {"id": instance, "config": {"context_length": context}}
            for instance, (model, context) in self.instances.items()
            if model == key
        ]
        return {"type": "llm", "key": key, "size_bytes": 4_700_000_000, "format": "gguf", "loaded_instances": loaded}

    def _load(self, exchange: Exchange) -> None:
        body = exchange.body
        if body["model"] not in self.keys:
            exchange.send_json(404, {"error": {"message": "model not found"}})
            return
        self.loads.append(body)
        if self.breaks_off:
            exchange.connection.close()
            return
        self._ended.wait(self.load_seconds)
        same = sum(model == body["model"] for model, _ in self.instances.values())
        instance = body["model"] if not same else f"{body['model']}:{same + 1}"
        self.instances[instance] = (body["model"], body.get("context_length", 4096))
        exchange.send_json(200, {"type": "llm", "instance_id": instance, "load_time_seconds": 1, "status": "loaded"})

    def _unload(self, exchange: Exchange) -> None:
        instance = exchange.body["instance_id"]
        if instance not in self.instances:
            exchange.send_json(404, {"error": {"message": "no such instance"}})
            return
        if self.lists_after_unload:
            self._leaving.add(instance)
        else:
            del self.instances[instance]
        exchange.send_json(200, {"instance_id": instance})
