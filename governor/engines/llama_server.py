"""The engine llama-server: llama.cpp's server in router mode, which runs a process for each model.

The router is ours (`llama_router`), loads nothing by itself and evicts nobody: its own choice of who leaves would
take a model in the middle of a request. What a model is started with is `llama_presets`; what the log says of a
load is `llama_log`. Facts of that API that shape this file (llama.cpp b11434, tools/server/server-models.cpp):
loads and unloads are answered before they happen; the list goes on saying `loaded` for up to 50 ms after a
model's process ended; a reload of the presets unloads a running model whose section changed; when a model dies
in the middle of an answer the router ends the stream as if it were whole. So the router is only told what to
load, and requests go to the model's own address.
"""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

import psutil

from governor.engines import llama_log, llama_presets, llama_router
from governor.engines.llama_router import Child, Router
from governor.engines.protocol import Loaded, Record, Running, Usage, Watch, forget, unwatched
from governor.engines.wire import SLICE_SECONDS, Wire, WireError, failed, unusable
from governor.errors import BadInput
from governor.gguf_header import read_weights
from governor.policy.facts import ModelSpec, Weights
from governor.processes import Identity, Life, end, life
from governor.settings import MIB

# In the router's words; `sleeping` models are in memory in part, and none of ours is told to sleep.
IN_MEMORY = {"loading": "loading", "loaded": "loaded", "sleeping": "loaded"}
ALREADY_RUNNING = 400
# A small model loads in 0.16 s, so a look each 10 ms (1 ms of work) adds 3% at most.
POLL_SECONDS = 0.01
# It reads the header of every model that does not run, 20 ms each.
RELOAD_SECONDS = 10.0
# The router kills it at once; what the driver does takes 0.3 s at most (measured). Then it is ended from here.
UNLOAD_SECONDS = 10.0
GONE_POLL_SECONDS = 0.002


class LlamaServerEngine:
    """Engine of the name `llama_server`."""

    name = "llama_server"
    experimental = False
    cache_types: tuple[str, ...] = ("f16", "q8_0")

    def health(self) -> str | None:
        """None when there is a program to run."""
        if llama_router.binary() is not None:
            return None
        return f"there is no llama-server on the PATH. {llama_router.BUILD} See the README, Engines"

    def weights(self, spec: ModelSpec) -> Weights | None:
        """What the header of its weights says; a file that cannot be read is told of by the load."""
        try:
            return read_weights(llama_presets.weights_path(spec))
        except BadInput:
            return None

    def residents(self) -> list[Running] | None:
        """What the router's list and its processes both show; nothing while no router runs."""
        router = llama_router.found()
        if router is None:
            return [] if self.health() is None else None
        entries = _listed(router)
        if entries is None:
            return None
        children = router.children()
        return [_running(entry, children[name]) for name, entry in entries.items() if name in children]

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        """Have the router load `spec` and wait until it serves; one that runs with the same settings is taken over.

        Raises:
            NotReady: no llama-server, or no weights. BadInput: the weights are corrupt. DoesNotFit: no memory, or
            layers stayed on the CPU. ModelFailed: other settings run, it ended, or it was not up in time.
        """
        deadline = time.monotonic() + deadline_seconds
        told = llama_presets.section(spec)
        try:
            with llama_router.locked():
                router = llama_router.ensure()
                since = _tell(router, spec, told)
        except WireError as error:
            raise unusable(error, spec, remedy=llama_router.BUILD) from error
        try:
            loaded = _await(router, spec, since, deadline, watch)
            if why := llama_log.spilled(spec, llama_router.log_file(), since):
                raise llama_log.does_not_fit(spec, why)
            record(loaded)
        except BaseException:  # a signal too: nobody would ever know of this model
            _drop(router, spec.model, router.child(spec.model))
            raise
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether that very process lives and the router lists its model as loaded."""
        if loaded.identity is None or life(loaded.identity) is Life.DEAD:
            return False
        router = llama_router.found()
        entry = ((_listed(router) if router else None) or {}).get(model)
        return entry is not None and _state(entry) == "loaded"

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no engine slot is at work; False when the model does not say."""
        usage = self.usage(loaded, model)
        return usage is not None and usage.busy == 0

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        """Its engine slots, as the model says; None when it is not loaded or does not answer."""
        slots: Any = Wire(loaded.address, loaded.api_key).found("/slots")
        try:
            return Usage(len(slots), sum(bool(slot["is_processing"]) for slot in slots), int(slots[0]["n_ctx"]))
        except (TypeError, KeyError, IndexError, ValueError):
            return None

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Done when the model's process is gone; one that does not go is ended by its identity."""
        router = llama_router.found()
        child = router.child(model) if router else None
        if loaded.identity is not None and (child is None or loaded.identity != child.identity):
            return end(loaded.identity, grace_seconds=UNLOAD_SECONDS)
        return router is None or _drop(router, model, child)

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """OpenAI's wire format at the model's own address; labels by grammar."""
        return {
            "model": f"openai/{spec.model}",
            "api_base": f"{loaded.address}/v1",
            "api_key": loaded.api_key,
            "choices_as": "grammar",
        }

    def close(self) -> None:
        """End the router of this state folder and every process it started."""
        if llama_router.folder().is_dir():
            with llama_router.locked():
                llama_router.end_all()


def _tell(router: Router, spec: ModelSpec, told: dict[str, str]) -> int:
    """Write the section if need be and start the load; where the log ended before it. Called under the lock.

    Raises:
        ModelFailed: it runs with other settings. WireError: the router does not answer as it should.
    """
    log = llama_router.log_file()
    entry = _settled(router, spec.model)
    if entry is not None and _runs(entry):
        if llama_presets.same(told, entry):
            return llama_log.size_of(log)
        raise failed(spec, "runs it with other settings; it has to be unloaded first", retryable=True)
    if entry is None or not llama_presets.same(told, entry):
        llama_presets.write(llama_router.presets_file(), spec.model, told)
        router.wire.get("/models?reload=1", seconds=RELOAD_SECONDS)
    since = llama_log.size_of(log)
    try:
        router.wire.post("/models/load", {"model": spec.model})
    except WireError as error:
        # Who loads by the router's own API asks for no lock: what they load is taken over when it is the same.
        now = (_listed(router) or {}).get(spec.model)
        if error.status != ALREADY_RUNNING or not now or not (_runs(now) and llama_presets.same(told, now)):
            raise
    return since


def _settled(router: Router, model: str) -> dict[str, Any] | None:
    """The list's entry, once it does not show as running what has no process any more.

    Raises:
        WireError: the list cannot be had.
    """
    deadline = time.monotonic() + UNLOAD_SECONDS
    while True:
        entry = _entries(router.wire.get("/models")).get(model)
        stale = entry is not None and _runs(entry) and router.child(model) is None
        if not stale or time.monotonic() >= deadline:
            return entry
        time.sleep(POLL_SECONDS)


def _await(router: Router, spec: ModelSpec, since: int, deadline: float, watch: Watch) -> Loaded:
    """The model once it serves. Raises what a failed or late load means, and what `watch` raises."""
    child, watched = None, 0.0
    while True:
        entry = (_listed(router) or {}).get(spec.model)
        child = child or router.child(spec.model)
        state = _state(entry) if entry else None
        if state == "loaded" and child is not None:
            return _loaded(spec, child, router.api_key)
        if state == "unloaded":
            raise llama_log.why_not(spec, llama_router.log_file(), since, llama_presets.weights_path(spec))
        if life(router.identity) is Life.DEAD:
            raise failed(spec, "ended while it loaded", retryable=True)
        if time.monotonic() >= deadline:
            raise failed(spec, "was not up in time", retryable=True)
        if time.monotonic() - watched >= SLICE_SECONDS / 2:
            watched = time.monotonic()
            watch((child.identity.pid,) if child else ())
        time.sleep(POLL_SECONDS)


def _loaded(spec: ModelSpec, child: Child, api_key: str) -> Loaded:
    memory_mib = None
    if spec.gpu_layers == 0:
        with contextlib.suppress(psutil.Error):
            # Resident, shared pages included: what has to be there for it, whoever else maps the same file.
            memory_mib = psutil.Process(child.identity.pid).memory_info().rss / MIB
    return Loaded(child.address, api_key, child.identity, memory_mib, (child.identity.pid,))


def _drop(router: Router, model: str, child: Child | None) -> bool:
    """Tell the router to end the model's process and see it gone."""
    try:
        router.wire.post("/models/unload", {"model": model})
        told = True
    except WireError:  # it is not running any more, or the router is gone or stuck
        told = False
    if child is None or (told and _gone(child.identity, UNLOAD_SECONDS)):
        return True
    return end(child.identity, grace_seconds=0.0)


def _gone(identity: Identity, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while life(identity) is not Life.DEAD:
        if time.monotonic() >= deadline:
            return False
        time.sleep(GONE_POLL_SECONDS)
    return True


def _listed(router: Router) -> dict[str, dict[str, Any]] | None:
    """The router's list by name; None when it cannot be had."""
    answer = router.wire.found("/models")
    return None if answer is None else _entries(answer)


def _entries(answer: Any) -> dict[str, dict[str, Any]]:
    rows: Sequence[Any] = answer.get("data", ()) if isinstance(answer, dict) else ()
    return {row["id"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)}


def _state(entry: dict[str, Any]) -> str:
    """Its state in the Protocol's words, as far as it has some; else in the router's."""
    status = entry.get("status")
    value = str(status.get("value")) if isinstance(status, dict) else ""
    return IN_MEMORY.get(value, value)


def _runs(entry: dict[str, Any]) -> bool:
    return _state(entry) in IN_MEMORY


def _running(entry: dict[str, Any], child: Child) -> Running:
    told = llama_presets.told_to(entry)
    slots = int(told.get("parallel", 0)) or None
    context = int(told.get("ctx-size", 0)) // (slots or 1) or None
    return Running(entry["id"], _state(entry), (child.identity.pid,), context_tokens=context, engine_slots=slots)
