"""The Ollama engine: a server that somebody else runs, spoken to in its own API.

Facts of that API that shape this file: options such as the context are load-time, so another value
reloads the model; an unload is answered before it happens; 503 means that its own queue is full.
"""

import math
import os
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from governor.engines.protocol import Loaded, Record, forget
from governor.errors import DoesNotFit, HotdeskError, ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from governor.sensors import gpu
from governor.settings import MIB

# Ollama's own reading of OLLAMA_HOST (its envconfig): the port when none is named, by what is named.
DEFAULT_PORTS = {"": 11434, "http": 80, "https": 443}
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
ASK_SECONDS = 2.0
# Its own polls for memory to come back (its sched.go): every 250 ms, at most 5 s, until 75% of the size is free.
POLL_SECONDS = 0.25
MEMORY_BACK_SECONDS = 5.0
MEMORY_BACK_SHARE = 0.75
# An unload waits for the requests that run; nobody of ours has one then, so this is for strangers' short ones.
UNLOAD_SECONDS = 10.0
# Longer than any profile's keep-alive, so that the governor decides who leaves; bounded, so that a model is
# not in memory for ever when hotdesk is gone. Every call starts it anew.
KEEP_ALIVE = "30m"


def address() -> str:
    """Where Ollama listens: `OLLAMA_HOST` as Ollama itself reads it, else the loopback address, port 11434."""
    named = os.environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    scheme = named.partition("://")[0] if "://" in named else ""
    where = urlsplit(named if scheme else f"http://{named}")
    host = where.hostname or ""
    host = ANY_ADDRESS.get(host, host)
    try:
        port = where.port or DEFAULT_PORTS.get(scheme, DEFAULT_PORTS[""])
    except ValueError:  # Ollama, too, takes its default for a port that is none
        port = DEFAULT_PORTS[""]
    return f"{scheme or 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def available_tags(timeout_seconds: float = 0.5) -> list[str] | None:
    """Tags of the models it has on disk; None when no server answers."""
    try:
        with _client(timeout_seconds) as client:
            return [model["name"] for model in client.get("/api/tags").raise_for_status().json()["models"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None


def fitting_model(tags: list[str], wanted: str) -> str | None:
    """The tag among `tags` that serves `wanted`, None when there is none."""
    return full_name(wanted) if full_name(wanted) in map(full_name, tags) else None


def full_name(tag: str) -> str:
    """A name as Ollama lists it: without a tag it means `:latest`."""
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def free_vram_mib() -> float | None:
    """Free memory of the card as the driver says, None when there is none to ask."""
    return next((reading.value for reading in gpu.read() if reading.name == "vram_free_mib"), None)


class OllamaEngine:
    """Engine of the name `ollama`.

    Args:
        free_mib: says how much GPU memory is free, None where that is unknown; by default the driver.
    """

    name = "ollama"

    def __init__(self, free_mib: Callable[[], float | None] = free_vram_mib) -> None:
        self._free_mib = free_mib

    def health(self) -> str | None:
        """None when a server answers."""
        try:
            with _client(ASK_SECONDS) as client:
                client.get("/api/version").raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"no Ollama answers at {address()} ({type(error).__name__})"
        return None

    def load(self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget) -> Loaded:
        """Load with the fleet's one context; a request without a prompt is Ollama's way to ask for that.

        Raises:
            NotReady: no server, or it does not have the model. ModelFailed: queue full, or not loaded in time.
            DoesNotFit: it put layers on the CPU (it says nothing, and is 16 times slower then).
        """
        body = {"model": spec.source, "keep_alive": KEEP_ALIVE, "options": {"num_ctx": spec.context_tokens}}
        try:
            answer = _generate(body, deadline_seconds)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _explained(error, spec) from error
        if answer.get("done_reason") != "load":
            raise _failed(spec, f"answered {str(answer)[:200]} to a load", retryable=False)
        row = _row(_running() or [], spec.source)
        if row is None:
            raise _failed(spec, "says that it loaded the model, and does not list it", retryable=True)
        loaded = Loaded(address(), None, None, _mib(row.get("size")))
        self._refuse_spill(spec, row, loaded)
        record(loaded)
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether it is in Ollama's list of running models; False when the list cannot be had."""
        return _row(_running() or [], model) is not None

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Always: Ollama does not say what runs, and its own queue stands in front of each model."""
        return True

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Ask, then wait until the model left Ollama's list and the driver has its memory back.

        False when one of them did not happen in time, or nobody can say; asking again is safe. Without
        a server there is nothing to take out of memory.
        """
        free_before = self._free_mib()
        running = _running()
        row = _row(running or [], model)
        if running is not None and row is None:
            return True
        try:
            _generate({"model": model, "keep_alive": 0}, UNLOAD_SECONDS)
        except httpx.ConnectError:
            return True
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return False
        if not _wait(lambda: (now := _running()) is not None and _row(now, model) is None, UNLOAD_SECONDS):
            return False
        return self._memory_is_back(free_before, _mib((row or {}).get("size_vram")))

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """`ollama_chat/`, because its /v1 takes neither num_ctx nor keep_alive; the same values as at the load."""
        return {
            "model": f"ollama_chat/{spec.source}",
            "api_base": loaded.address,
            "num_ctx": spec.context_tokens,
            "keep_alive": KEEP_ALIVE,
        }

    def _memory_is_back(self, before: float | None, took: float | None) -> bool:
        if before is None or not took:
            return True
        wanted = before + MEMORY_BACK_SHARE * took
        return _wait(lambda: (self._free_mib() or 0.0) >= wanted, MEMORY_BACK_SECONDS)

    def _refuse_spill(self, spec: ModelSpec, row: dict[str, Any], loaded: Loaded) -> None:
        size, on_gpu = _mib(row.get("size")), _mib(row.get("size_vram"))
        if spec.gpu_layers == 0 or size is None or on_gpu is None or on_gpu >= size:
            return
        self.unload(loaded, spec.source)
        why = f"Ollama put only {on_gpu:.0f} of its {size:.0f} MiB on the GPU"
        raise DoesNotFit(
            f"{spec.source} at {spec.context_tokens} tokens does not fit: {why}.",
            means="It was unloaded again.",
            remedy="Free some GPU memory, or use a smaller model or context in the profile.",
            refusals=[why],
        )


def _client(seconds: float) -> httpx.Client:
    """Past proxies of the environment: Ollama is on this machine or near it."""
    return httpx.Client(base_url=address(), timeout=httpx.Timeout(seconds, connect=ASK_SECONDS), trust_env=False)


def _generate(body: dict[str, Any], seconds: float) -> dict[str, Any]:
    with _client(seconds) as client:
        return client.post("/api/generate", json={**body, "stream": False}).raise_for_status().json()


def _running() -> list[dict[str, Any]] | None:
    """What Ollama has in memory; None when it cannot be asked, which is not the same as nothing."""
    try:
        with _client(ASK_SECONDS) as client:
            return list(client.get("/api/ps").raise_for_status().json()["models"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return None


def _row(rows: list[dict[str, Any]], model: str) -> dict[str, Any] | None:
    wanted = full_name(model)
    return next((row for row in rows if wanted in (row.get("name"), row.get("model"))), None)


def _mib(size: Any) -> float | None:
    return size / MIB if isinstance(size, int) else None


def _wait(done: Callable[[], bool], seconds: float) -> bool:
    """Ask `done` until it says yes, at most `seconds`."""
    for _ in range(math.ceil(seconds / POLL_SECONDS)):
        if done():
            return True
        time.sleep(POLL_SECONDS)
    return done()


def _explained(error: Exception, spec: ModelSpec) -> HotdeskError:
    """What a failed load means to a person."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status == httpx.codes.NOT_FOUND:
            return NotReady(
                f"Ollama does not have {spec.source}.", remedy=f"Run `ollama pull {spec.source}`.", engine="ollama"
            )
        if status == httpx.codes.SERVICE_UNAVAILABLE:
            return _failed(spec, "says that its queue is full", retryable=True)
        return _failed(spec, f"answered {status}: {error.response.text[:200]}", retryable=status >= 500)
    if isinstance(error, httpx.ReadTimeout):
        return _failed(spec, "did not load it in time", retryable=True)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.InvalidURL):
        return NotReady(
            f"No Ollama answers at {address()}: {error}.",
            remedy="Start it with `ollama serve`, or set OLLAMA_HOST to where it listens.",
            engine="ollama",
        )
    return _failed(spec, f"broke off: {error}", retryable=True)


def _failed(spec: ModelSpec, what: str, *, retryable: bool) -> ModelFailed:
    return ModelFailed(
        f"Ollama {what} ({spec.source}).",
        means="Nothing was asked.",
        remedy="See Ollama's own log; `ollama ps` shows what it has in memory.",
        engine=OllamaEngine.name,
        model=spec.model,
        retryable=retryable,
    )
