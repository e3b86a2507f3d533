"""The Ollama engine: a server that somebody else runs, spoken to in its own API.

Facts of that API that shape this file: options such as the context are load-time, so another value
reloads the model; an unload is answered before it happens; 503 means that its own queue is full; a load
whose client goes away is given up. A model's name here is Ollama's tag, `source` and `model` alike. How a
context is kept and how many requests run at once is set where the server is started (OLLAMA_KV_CACHE_TYPE,
OLLAMA_NUM_PARALLEL).
"""

import contextlib
import ipaddress
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from governor.engines.protocol import Loaded, Record, Running, Usage, Watch, forget, unwatched
from governor.engines.seen import children_naming
from governor.engines.wire import ASK_SECONDS, Fault, Wire, WireError, failed, unusable, wait_until
from governor.errors import DoesNotFit
from governor.gguf_header import weights_from_keys
from governor.policy.facts import ModelSpec, Weights
from governor.settings import MIB

# Ollama's own reading of OLLAMA_HOST (its envconfig): the port when none is named, by what is named.
DEFAULT_PORTS = {"": 11434, "http": 80, "https": 443}
ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
# An unload waits for the requests that run; nobody of ours has one then, so this is for strangers' short ones.
UNLOAD_SECONDS = 10.0
# Longer than any profile's keep-alive, so that the governor decides who leaves; bounded, so that a model is
# not in memory for ever when hotdesk is gone. Every call starts it anew.
KEEP_ALIVE = "30m"
# Name of the file with the weights, as it stands in a model's description and on its runner's command line.
BLOB = re.compile(r"^FROM .*(sha256-[0-9a-f]{64})", re.MULTILINE)
# No size and no context comes near.
MOST = 1 << 60
START = "Start it with `ollama serve`, or set OLLAMA_HOST to where it listens."


def address() -> str:
    """Where Ollama listens: `OLLAMA_HOST` as Ollama itself reads it, else the loopback address, port 11434."""
    named = os.environ.get("OLLAMA_HOST", "").strip().strip("\"'")
    scheme = named.partition("://")[0] if "://" in named else ""
    host, port = _host_and_port(named.partition("://")[2] if scheme else named)
    host = ANY_ADDRESS.get(host, host)
    port = port or DEFAULT_PORTS.get(scheme, DEFAULT_PORTS[""])
    return f"{scheme or 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _host_and_port(named: str) -> tuple[str, int | None]:
    """What is named without its scheme. Ollama takes a bare IPv6 address too, and half of its brackets."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.IPv6Address(named.strip("[]"))), None
    try:
        where = urlsplit(f"http://{named}")
        host = where.hostname or ""
    except ValueError:  # no address at all: nobody answers there
        return named.partition("/")[0], None
    try:
        return host, where.port
    except ValueError:  # Ollama, too, takes its default for a port that is none
        return host, DEFAULT_PORTS[""]


class OnDisk(NamedTuple):
    """A model that it has: its tag, the size of all its files together, the digest of the manifest that lists them."""

    name: str
    size_bytes: int | None
    digest: str


def on_disk(timeout_seconds: float = 0.5) -> list[OnDisk] | None:
    """The models it has; None when no server answers."""
    rows = _listed("/api/tags", timeout_seconds)
    if rows is None:
        return None
    return [OnDisk(str(row.get("name")), _counted(row.get("size")), str(row.get("digest") or "")) for row in rows]


def weights_sha256(tag: str) -> str | None:
    """The sha256 of a model's weights, which is how it names their file; None when it does not say."""
    blob = BLOB.search(str(_shown(tag).get("modelfile", "")))
    return blob[1].removeprefix("sha256-") if blob else None


def fitting_model(tags: list[str], wanted: str) -> str | None:
    """The tag among `tags` that serves `wanted`, None when there is none."""
    return full_name(wanted) if full_name(wanted) in map(full_name, tags) else None


def full_name(tag: str) -> str:
    """A name as Ollama lists it: without a tag it means `:latest`."""
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


class OllamaEngine:
    """Engine of the name `ollama`."""

    name = "ollama"
    experimental = False
    accounts_for_vram = True
    cache_types = ()

    def health(self) -> str | None:
        """None when a server answers."""
        try:
            _wire().get("/api/version")
        except WireError as error:
            return f"no Ollama answers at {address()} ({error.fault})"
        return None

    def weights(self, spec: ModelSpec) -> Weights | None:
        """From its description of the model, which holds the keys of the weights' header."""
        row = _row(_listed("/api/tags") or [], spec.source)
        size, keys = _mib((row or {}).get("size")), _shown(spec.source).get("model_info")
        return weights_from_keys(keys, size, 0.0) if size and isinstance(keys, dict) else None

    def residents(self) -> list[Running] | None:
        """What its own list says; the figures are its own too, and can be far off."""
        rows = _in_memory()
        return None if rows is None else [_running(row) for row in rows]

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        """Load with the fleet's one context; a request without a prompt (or text) is Ollama's way to ask for that.

        Raises:
            NotReady: no server, or it does not have the model. ModelFailed: queue full, or not loaded in time.
            DoesNotFit: it put layers on the CPU (it says nothing, and is 16 times slower then).
        """
        was_there = _row(_in_memory() or [], spec.source) is not None
        runners = _runners_of(spec.source)
        try:
            row = _loaded_row(spec, deadline_seconds, watch, runners)
            _refuse_spill(spec, row)
            loaded = Loaded(address(), None, None, _mib(row.get("size")), runners())
            record(loaded)
        except BaseException as error:
            if not was_there or isinstance(error, DoesNotFit):
                _take_out(spec.source)
            if isinstance(error, WireError):
                raise unusable(error, spec, remedy=START, missing=f"Run `ollama pull {spec.source}`.") from error
            raise
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether it is in Ollama's list of running models; False when the list cannot be had."""
        return _row(_in_memory() or [], model) is not None

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Always: Ollama does not say what runs, and its own queue stands in front of each model."""
        return True

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        """None: Ollama says neither its engine slots nor what runs in them."""
        return None

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Ask, then wait until the model left Ollama's list.

        False when it did not in time, or nobody can say; asking again is safe. Without a server there is
        nothing to take out of memory.
        """
        rows = _in_memory()
        return (rows is not None and _row(rows, model) is None) or _take_out(model)

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """`ollama_chat/`, because its /v1 takes neither num_ctx nor keep_alive; the same values as at the load.

        An embedding model is `ollama/`, litellm's name for /api/embed, and is told not to cut what is too long.
        """
        where = {"api_base": loaded.address, **_options(spec), "keep_alive": KEEP_ALIVE}
        if spec.embeds:
            return {"model": f"ollama/{spec.source}", "truncate": False, **where}
        return {"model": f"ollama_chat/{spec.source}", **where}

    def close(self) -> None:
        """Nothing of ours runs beside its models."""


def _wire() -> Wire:
    return Wire(address())


def _options(spec: ModelSpec) -> dict[str, int]:
    """What is decided at the load. Left to itself Ollama takes any card for what belongs into the host's memory."""
    return {"num_ctx": spec.context_tokens} | ({"num_gpu": 0} if spec.line == "cpu" else {})


def _loaded_row(
    spec: ModelSpec, seconds: float, watch: Watch, runners: Callable[[], tuple[int, ...]]
) -> dict[str, Any]:
    """Its list's row of the model, once it said that it loaded it. Raises WireError, ModelFailed."""
    body = {"model": spec.source, "keep_alive": KEEP_ALIVE, "options": _options(spec)}
    # An embedding model "does not support generate", says Ollama, and loads for no texts as another for no prompt.
    path, more = ("/api/embed", {"input": []}) if spec.embeds else ("/api/generate", {"stream": False})
    answer = _wire().watched("POST", path, body | more, seconds=seconds, watch=watch, pids=runners)
    if not isinstance(answer, dict) or (answer.get("embeddings") != [] and answer.get("done_reason") != "load"):
        raise failed(spec, f"answered {str(answer)[:200]} to a load", retryable=False)
    row = _row(_in_memory() or [], spec.source)
    if row is None:
        raise failed(spec, "says that it loaded the model, and does not list it", retryable=True)
    return row


def _take_out(model: str) -> bool:
    """Ask for it even when the list does not name it: a load that was broken off may not stand there yet."""
    try:
        _wire().post("/api/generate", {"model": model, "keep_alive": 0, "stream": False}, seconds=UNLOAD_SECONDS)
    except WireError as error:
        return error.fault is Fault.ABSENT
    return wait_until(lambda: (rows := _in_memory()) is not None and _row(rows, model) is None, UNLOAD_SECONDS)


def _refuse_spill(spec: ModelSpec, row: dict[str, Any]) -> None:
    size, on_gpu = _mib(row.get("size")), _mib(row.get("size_vram"))
    if spec.gpu_layers == 0 or size is None or on_gpu is None or on_gpu >= size:
        return
    why = f"Ollama put only {on_gpu:.0f} of its {size:.0f} MiB on the GPU"
    raise DoesNotFit(
        f"{spec.source} at {spec.context_tokens} tokens does not fit: {why}.",
        means="It is unloaded again.",
        remedy="Free some GPU memory, or use a smaller model or context in the profile.",
        refusals=[why],
    )


def _listed(path: str, seconds: float = ASK_SECONDS) -> list[dict[str, Any]] | None:
    """The `models` of an answer; None when it cannot be asked, which is not the same as nothing."""
    said = _wire().found(path, seconds=seconds)
    rows = said.get("models") if isinstance(said, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def _in_memory() -> list[dict[str, Any]] | None:
    return _listed("/api/ps")


def _shown(model: str) -> dict[str, Any]:
    """Its description of a model; empty when there is none."""
    with contextlib.suppress(WireError):
        said = _wire().post("/api/show", {"model": model})
        return said if isinstance(said, dict) else {}
    return {}


def _runners_of(model: str) -> Callable[[], tuple[int, ...]]:
    """Looks for the processes that hold the weights of `model`; sees none where the server is not on this machine."""
    blob = BLOB.search(str(_shown(model).get("modelfile", "")))
    word, where = blob[1] if blob else "", address()
    return lambda: children_naming("ollama", word, where)


def _running(row: dict[str, Any]) -> Running:
    return Running(
        model=str(row.get("name")),
        state="unloading" if _is_over(row.get("expires_at")) else "loaded",
        pids=_runners_of(str(row.get("name")))(),
        context_tokens=_counted(row.get("context_length")),
        size_mib=_mib(row.get("size")),
        vram_mib=_mib(row.get("size_vram")),
    )


def _is_over(expires_at: Any) -> bool:
    """Whether its time is up: it leaves as soon as the last request has ended, as `ollama ps` shows it too."""
    try:
        return datetime.fromisoformat(str(expires_at)) < datetime.now(UTC)
    except (ValueError, TypeError):  # no time at all, or one without a zone
        return False


def _row(rows: list[dict[str, Any]], model: str) -> dict[str, Any] | None:
    wanted = full_name(model)
    return next((row for row in rows if wanted in (row.get("name"), row.get("model"))), None)


def _mib(size: Any) -> float | None:
    bytes_ = _counted(size)
    return None if bytes_ is None else bytes_ / MIB


def _counted(value: Any) -> int | None:
    """A number of things that a computer can have; None for everything else that JSON can say."""
    return value if type(value) is int and 0 <= value < MOST else None
