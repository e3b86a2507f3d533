"""The llama-swap engine: a proxy that starts one server process for each model in its own configuration.

Experimental: written from its sources and its documentation, and run only against a fake of its HTTP API.
What shapes this file: a model is loaded by the first request to it, so a load here asks for the health of
its process (`/upstream/MODEL/health`); context, slots and cache type stand in its configuration. Questions
about a loaded model go to the model's own process: through the proxy they would load it again.
`source` and `model` are the name in its configuration. Its own `ttl` should be off, or longer than ours.
"""

import os
import time
from typing import Any
from urllib.parse import quote

from governor.engines.protocol import Loaded, Record, Running, Usage, Watch, forget, unwatched
from governor.engines.seen import here, listeners
from governor.engines.wire import Fault, Wire, WireError, failed, unusable, wait_until
from governor.policy.facts import ModelSpec, Weights

# llama-swap's own default, `-listen :8080`.
DEFAULT_ADDRESS = "http://127.0.0.1:8080"
STATES = {"starting": "loading", "ready": "loaded", "stopping": "unloading", "shutdown": "unloading"}
# It stops a process by SIGTERM and kills it after 10 s at the latest; the answer comes after that.
UNLOAD_SECONDS = 15.0
NOT_FOUND = 404
START = "Start llama-swap, or set LLAMA_SWAP_URL to where it listens."


def address() -> str:
    """Where llama-swap listens: `LLAMA_SWAP_URL`, else its default port on the loopback address."""
    return os.environ.get("LLAMA_SWAP_URL", "").strip().rstrip("/") or DEFAULT_ADDRESS


class LlamaSwapEngine:
    """Engine of the name `llama_swap`. Experimental: never run against the real thing."""

    name = "llama_swap"
    experimental = True
    accounts_for_vram = False
    cache_types = ()

    def health(self) -> str | None:
        """None when its list of running models can be had (another server may stand on the same port)."""
        try:
            _wire().get("/running")
        except WireError as error:
            if error.status == NOT_FOUND:
                return f"what answers at {address()} is not llama-swap: it has no list of running models"
            return f"no llama-swap answers at {address()} ({error.status or error.fault})"
        return None if _rows() is not None else f"what answers at {address()} is not llama-swap"

    def weights(self, spec: ModelSpec) -> Weights | None:
        """None: only its configuration knows the file."""
        return None

    def residents(self) -> list[Running] | None:
        """Its list of processes; context and slots from each process itself, where it is a llama-server."""
        rows = _rows()
        return None if rows is None else [_running(row) for row in rows]

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        """Ask for the health of the model's process, which starts it, and wait until it is ready.

        Raises:
            NotReady: no server, or the model is not in its configuration. ModelFailed: it did not come up.
        """
        was_there = _row(_rows(), spec.source) is not None
        try:
            row = _ready_row(spec, deadline_seconds, watch)
            loaded = Loaded(address(), _key(), None, None, listeners(_process(row)))
            record(loaded)
        except BaseException as error:
            if not was_there:
                self.unload(Loaded(address(), _key(), None, None), spec.source)
            if isinstance(error, WireError):
                missing = f"Add {spec.source} to llama-swap's configuration, or change the profile."
                raise unusable(error, spec, remedy=START, missing=missing) from error
            raise
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether its process is ready; False when the list cannot be had."""
        row = _row(_rows(), model)
        return row is not None and row.get("state") == "ready"

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no engine slot of its process works; True where the process does not say."""
        usage = self.usage(loaded, model)
        return usage is None or usage.busy == 0

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        """What its process says of its slots; None unless that is a llama-server that can be reached."""
        row = _row(_rows(), model)
        return None if row is None or row.get("state") != "ready" else _usage(row)

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Stop its process and wait until the list does not name it; what runs in it is cut off.

        An old llama-swap can only stop all of its models: that is done when there is no other one.
        """
        rows = _rows()
        if rows is not None and _row(rows, model) is None:
            return True
        try:
            _stop(model, alone=rows is not None and len(rows) == 1)
        except WireError as error:
            return error.fault is Fault.ABSENT
        return wait_until(lambda: (now := _rows()) is not None and _row(now, model) is None, UNLOAD_SECONDS)

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """OpenAI's wire format at the proxy; labels by JSON schema, since any server may stand behind it."""
        return {
            "model": f"openai/{spec.source}",
            "api_base": f"{loaded.address}/v1",
            "api_key": loaded.api_key or "none",
        }

    def close(self) -> None:
        """Nothing of ours runs beside its models."""


def _key() -> str | None:
    return os.environ.get("LLAMA_SWAP_API_KEY") or None


def _wire() -> Wire:
    return Wire(address(), _key())


def _rows() -> list[dict[str, Any]] | None:
    said = _wire().found("/running")
    rows = said.get("running") if isinstance(said, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def _row(rows: list[dict[str, Any]] | None, model: str) -> dict[str, Any] | None:
    return next((row for row in rows or [] if row.get("model") == model), None)


def _ready_row(spec: ModelSpec, seconds: float, watch: Watch) -> dict[str, Any]:
    """The list's row of the model, once its process is ready. Raises WireError, ModelFailed."""

    found: tuple[int, ...] = ()

    def pids() -> tuple[int, ...]:
        nonlocal found  # looked for until it listens: a look costs up to 75 ms (measured)
        if not found and (row := _row(_rows(), spec.source)):
            found = listeners(_process(row))
        return found

    def ready() -> bool:
        row = _row(_rows(), spec.source)
        return row is not None and row.get("state") == "ready"

    deadline = time.monotonic() + seconds
    path = f"/upstream/{quote(spec.source)}/health"
    try:
        _wire().watched("GET", path, seconds=seconds, watch=watch, pids=pids, plain=True)
    except WireError as error:
        # A process may be ready and know no such path: then the refusal was its own, not the proxy's.
        if error.fault is not Fault.REFUSED or not ready():
            raise
    if not wait_until(ready, deadline - time.monotonic(), watch=watch, pids=pids):
        raise failed(spec, "was not ready in time", retryable=True)
    row = _row(_rows(), spec.source)
    if row is None:
        raise failed(spec, "was ready, and is not listed any more", retryable=True)
    return row


def _stop(model: str, *, alone: bool) -> None:
    """Raises WireError: it cannot be told to, or not for this model only."""
    try:
        _wire().watched("POST", f"/api/models/unload/{quote(model)}", {}, seconds=UNLOAD_SECONDS, plain=True)
    except WireError as error:
        if error.status != NOT_FOUND or not alone:
            raise
        _wire().watched("GET", "/unload", seconds=UNLOAD_SECONDS, plain=True)


def _process(row: dict[str, Any]) -> str:
    """Base URL of the model's own process; '' when it means another machine's loopback, or is not said."""
    where = row.get("proxy")
    return where if isinstance(where, str) and here(address()) else ""


def _usage(row: dict[str, Any]) -> Usage | None:
    slots = Wire(_process(row)).found("/slots")
    if not isinstance(slots, list) or not slots or not all(isinstance(slot, dict) for slot in slots):
        return None
    context = slots[0].get("n_ctx")
    if not isinstance(context, int):
        return None
    return Usage(len(slots), sum(bool(slot.get("is_processing")) for slot in slots), context)


def _running(row: dict[str, Any]) -> Running:
    usage = _usage(row) if row.get("state") == "ready" else None
    return Running(
        model=str(row.get("model")),
        state=STATES.get(str(row.get("state")), "loaded"),
        pids=listeners(_process(row)),
        context_tokens=usage.context_tokens if usage else None,
        engine_slots=usage.engine_slots if usage else None,
    )
