"""The Ollama engine: a server that somebody else runs, spoken to in its own API.

Facts of that API: options are load-time, so a context other than the resident's reloads the model; an
unload is answered before it happens; 503 means that its own queue is full.
"""

import os
import time
from typing import Any

import httpx

from governor.engines.protocol import Loaded
from governor.errors import ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from governor.settings import MIB

DEFAULT_ADDRESS = "http://127.0.0.1:11434"
ASK_SECONDS = 2.0
# Ollama itself waits 5 s for memory to come back, in 250 ms polls (its sched.go); twice that is our bound.
UNLOAD_SECONDS = 10.0
POLL_SECONDS = 0.1
KEEP_ALIVE = "-1m"


def address() -> str:
    """Where Ollama listens: `OLLAMA_HOST` (with or without scheme and port), else its default."""
    named = os.environ.get("OLLAMA_HOST", "").strip().rstrip("/")
    if not named:
        return DEFAULT_ADDRESS
    url = named if "://" in named else f"http://{named}"
    host = url.split("://", 1)[1].replace("0.0.0.0", "127.0.0.1")
    return f"{url.split('://', 1)[0]}://{host if ':' in host else host + ':11434'}"


def available_tags(*, timeout_seconds: float = 0.5) -> list[str] | None:
    """Tags of the models it has on disk; None when no server answers."""
    try:
        answer = httpx.get(f"{address()}/api/tags", timeout=timeout_seconds)
        return [model["name"] for model in answer.raise_for_status().json()["models"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None


def fitting_model(tags: list[str], wanted: str) -> str | None:
    """The tag that serves `wanted`; a name without a tag means `:latest`, as Ollama reads it."""
    full = wanted if ":" in wanted else f"{wanted}:latest"
    return full if full in tags else None


class OllamaEngine:
    """Engine of the name `ollama`."""

    name = "ollama"

    def health(self) -> str | None:
        """None when a server answers."""
        return None if available_tags() is not None else f"no Ollama answers at {address()}"

    def load(self, spec: ModelSpec, *, deadline_seconds: float = 60.0) -> Loaded:
        """Load with the fleet's one context size; an empty prompt is Ollama's way to ask for that.

        Raises:
            NotReady: no server, its queue is full, or it does not have the model. ModelFailed: it did not load.
        """
        body = {
            "model": spec.source,
            "prompt": "",
            "stream": False,
            "keep_alive": KEEP_ALIVE,
            "options": {"num_ctx": spec.context_tokens},
        }
        answer = self._post(body, deadline_seconds)
        if answer.get("done_reason") != "load":
            raise ModelFailed(
                f"Ollama did not load {spec.source}: {str(answer)[:200]}.",
                remedy="See Ollama's own log.",
                engine=self.name,
                retryable=False,
            )
        row = self._resident(spec.source)
        size_mib = row["size"] / MIB if row and isinstance(row.get("size"), int) else None
        return Loaded(address(), None, None, size_mib)

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether it is still in Ollama's list of running models."""
        return self._resident(model) is not None

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Ollama does not say what runs; its own queue orders what we send, so it counts as quiet."""
        return True

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Ask, then wait until the model has left the list: the answer comes before the act."""
        try:
            self._post({"model": model, "keep_alive": 0, "stream": False}, UNLOAD_SECONDS)
        except (NotReady, ModelFailed):
            return self.health() is not None
        deadline = time.monotonic() + UNLOAD_SECONDS
        while self._resident(model) is not None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """`ollama_chat/`, because its /v1 takes neither num_ctx nor keep_alive."""
        return {
            "model": f"ollama_chat/{spec.source}",
            "api_base": loaded.address,
            "num_ctx": spec.context_tokens,
            "keep_alive": KEEP_ALIVE,
        }

    def _resident(self, model: str) -> dict[str, Any] | None:
        try:
            models = httpx.get(f"{address()}/api/ps", timeout=ASK_SECONDS).raise_for_status().json()["models"]
        except (httpx.HTTPError, ValueError, KeyError):
            return None
        return next((m for m in models if m.get("name") == model), None)

    def _post(self, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        try:
            answer = httpx.post(f"{address()}/api/generate", json=body, timeout=seconds)
        except httpx.HTTPError as error:
            raise self._not_ready(f"did not answer ({type(error).__name__})") from error
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise self._not_ready("says that its queue is full")
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise NotReady(
                f"Ollama does not have {body['model']}.", remedy=f"Run `ollama pull {body['model']}`.", engine=self.name
            )
        if answer.is_error:
            raise ModelFailed(
                f"Ollama answered {answer.status_code}: {answer.text[:200]}.",
                remedy="See Ollama's own log.",
                engine=self.name,
                retryable=False,
            )
        return answer.json()

    def _not_ready(self, what: str) -> NotReady:
        return NotReady(
            f"Ollama at {address()} {what}.",
            remedy="Start it with `ollama serve`, or try again later.",
            engine=self.name,
        )
