"""The LM Studio engine: a desktop program's server, spoken to in its own REST API (LM Studio 0.4 or newer).

Experimental: written from its documentation, and run only against a fake of its HTTP API.
What shapes this file: a load makes a new instance of the model each time, so what is loaded is asked first;
an instance has an id of its own, which is always looked up in the list, so that another process can unload
it. `source` and `model` are the model's key. How many requests run at once and how the context is kept are
settings of the program. Its own just-in-time loading and eviction should be turned off there.
"""

import os
from typing import Any

from governor.engines.protocol import Loaded, Record, Running, Usage, Watch, forget, unwatched
from governor.engines.wire import Fault, Wire, WireError, failed, unusable, wait_until
from governor.policy.facts import ModelSpec, Weights

DEFAULT_ADDRESS = "http://127.0.0.1:1234"
UNLOAD_SECONDS = 10.0
# Nothing says whether it gives up a load whose client went away: an instance may still turn up for so long.
LATE_INSTANCE_SECONDS = 10.0
NOT_FOUND = 404
START = "Start LM Studio's server (`lms server start`), or set LM_STUDIO_URL to where it listens."


def address() -> str:
    """Where LM Studio listens: `LM_STUDIO_URL`, else its default port on the loopback address."""
    return os.environ.get("LM_STUDIO_URL", "").strip().rstrip("/") or DEFAULT_ADDRESS


class LMStudioEngine:
    """Engine of the name `lm_studio`. Experimental: never run against the real thing."""

    name = "lm_studio"
    experimental = True
    accounts_for_vram = False
    cache_types = ()

    def health(self) -> str | None:
        """None when its list of models can be had. Older programs answer 404, or 200 with an error in it."""
        try:
            known = _models_of(_wire().get("/api/v1/models"))
        except WireError as error:
            if error.status != NOT_FOUND:
                return f"no LM Studio answers at {address()} ({error.status or error.fault})"
            known = None
        if known is None:
            return f"the LM Studio at {address()} has no /api/v1: it is older than 0.4, or another program"
        return None

    def weights(self, spec: ModelSpec) -> Weights | None:
        """None: it tells the size of the file, not what its header says."""
        return None

    def residents(self) -> list[Running] | None:
        """Every loaded instance; it tells neither memory nor processes."""
        rows = _models()
        if rows is None:
            return None
        return [
            Running(str(row.get("key")), "loaded", context_tokens=_context(instance))
            for row in rows
            for instance in _instances(row)
        ]

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        """A new instance with the fleet's one context, unless there is one; an instance with another one leaves.

        Raises:
            NotReady: no server, one that is too old, or it does not have the model. ModelFailed: it did not load.
        """
        instances = _loaded(spec.source)
        fits = any(_context(instance) == spec.context_tokens for instance in instances or [])
        watch(())
        if instances and not fits and not self.unload(_here(), spec.source):
            raise failed(spec, "kept an instance with another context", retryable=True)
        try:
            if not fits:
                _load(spec, deadline_seconds, watch)
            loaded = _here()
            record(loaded)
        except BaseException as error:
            if not fits:
                self.unload(_here(), spec.source)
            if isinstance(error, WireError):
                missing = f"Download {spec.source} in LM Studio, or change the profile (needs LM Studio 0.4 or newer)."
                raise unusable(error, spec, remedy=START, missing=missing) from error
            raise
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether an instance of it is listed; False when the list cannot be had."""
        return bool(_loaded(model))

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Always: LM Studio does not say what runs."""
        return True

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        """None: LM Studio does not say what runs."""
        return None

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Unload every instance of the model, and wait until none is listed; the list tells their ids."""
        instances = _loaded(model)
        if instances is None:
            return _nobody()
        try:
            for instance in instances:
                _unload(instance)
        except WireError as error:
            return error.fault is Fault.ABSENT
        return wait_until(lambda: _loaded(model) == [], UNLOAD_SECONDS)

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """OpenAI's wire format; labels by JSON schema."""
        return {
            "model": f"openai/{spec.source}",
            "api_base": f"{loaded.address}/v1",
            "api_key": loaded.api_key or "none",
        }

    def close(self) -> None:
        """Nothing of ours runs beside its models."""


def _key() -> str | None:
    """Its API token, by the name that its own tools read."""
    return os.environ.get("LM_API_TOKEN") or None


def _wire() -> Wire:
    return Wire(address(), _key())


def _here() -> Loaded:
    return Loaded(address(), _key(), None, None)


def _models_of(said: Any) -> list[dict[str, Any]] | None:
    rows = said.get("models") if isinstance(said, dict) else None
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def _models() -> list[dict[str, Any]] | None:
    return _models_of(_wire().found("/api/v1/models"))


def _instances(row: dict[str, Any]) -> list[dict[str, Any]]:
    found = row.get("loaded_instances")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _loaded(model: str) -> list[dict[str, Any]] | None:
    """Loaded instances of a model; None when the list cannot be had."""
    rows = _models()
    return None if rows is None else [one for row in rows if row.get("key") == model for one in _instances(row)]


def _context(instance: dict[str, Any]) -> int | None:
    config = instance.get("config")
    context = config.get("context_length") if isinstance(config, dict) else None
    return context if isinstance(context, int) else None


def _load(spec: ModelSpec, seconds: float, watch: Watch) -> None:
    """Raises WireError, ModelFailed, what `watch` raises; after a load that was broken off an instance may be left."""
    body = {"model": spec.source, "context_length": spec.context_tokens}
    try:
        answer = _wire().watched("POST", "/api/v1/models/load", body, seconds=seconds, watch=watch)
    except BaseException as error:
        if not isinstance(error, WireError) or error.fault in (Fault.LATE, Fault.BROKEN):
            wait_until(lambda: bool(_loaded(spec.source)) or _nobody(), LATE_INSTANCE_SECONDS)
        raise
    if not isinstance(answer, dict) or answer.get("status", "loaded") != "loaded" or "error" in answer:
        raise failed(spec, f"answered {str(answer)[:200]} to a load", retryable=False)
    if not _loaded(spec.source):
        raise failed(spec, "says that it loaded the model, and does not list it", retryable=True)


def _unload(instance: dict[str, Any]) -> None:
    """Raises WireError; an instance that is gone already is no error."""
    try:
        _wire().post("/api/v1/models/unload", {"instance_id": instance.get("id")}, seconds=UNLOAD_SECONDS)
    except WireError as error:
        if error.status != NOT_FOUND:
            raise


def _nobody() -> bool:
    """Whether no server is there: then it has nothing in memory."""
    try:
        _wire().get("/api/v1/models")
    except WireError as error:
        return error.fault is Fault.ABSENT
    return False
