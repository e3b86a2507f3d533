"""The engine llama-server: llama.cpp's server in router mode, which runs a process for each model.

The router is ours (`llama_router`), loads nothing by itself and evicts nobody: its own choice of who leaves would
take a model in the middle of a request. What a model is started with is `llama_presets`; one load is `llama_load`;
what the log says of it is `llama_log`. Facts of that API that shape these files (llama.cpp b11434,
tools/server/server-models.cpp): loads and unloads are answered before they happen; the list goes on saying `loaded`
for up to 50 ms after a model's process ended; a reload of the presets unloads a running model whose section changed;
when a model dies in the middle of an answer the router ends the stream as if it were whole. So the router is only
told what to load, and requests go to the model's own address.
"""

import time
from typing import Any

from governor.engines import llama_folder, llama_presets, llama_router, llama_slots
from governor.engines.llama_load import UNLOAD_SECONDS, Load, drop, listed, state_of
from governor.engines.llama_router import Child
from governor.engines.protocol import Loaded, Record, Running, Usage, Watch, forget, unwatched
from governor.engines.wire import Wire, WireError, unusable
from governor.errors import BadInput
from governor.gguf_header import read_weights
from governor.policy.facts import ModelSpec, Weights
from governor.processes import Life, end, life

# A longer number is none that a model could have been given.
MOST_DIGITS = 12


class LlamaServerEngine:
    """Engine of the name `llama_server`."""

    name = "llama_server"
    experimental = False
    accounts_for_vram = False
    cache_types: tuple[str, ...] = llama_presets.CACHE_TYPES

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
        entries = listed(router)
        if entries is None:
            return None
        children = router.children()
        return [_running(entry, children[name]) for name, entry in entries.items() if name in children]

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        """Have the router load `spec` and wait until it serves; one that runs with the same settings is taken over.

        Raises:
            NotReady: no llama-server, or no weights. BadInput: the weights are corrupt, or the name or the cache
            type is none. DoesNotFit: no memory, or layers stayed on the CPU. ModelFailed: other settings run, it
            ended, or it was not up in time.
        """
        deadline = time.monotonic() + deadline_seconds
        load = Load(spec, llama_presets.section(spec), deadline, watch)
        try:
            with llama_folder.locked(deadline):
                load.tell()
            loaded = load.serving()
            record(loaded)
        except BaseException as error:  # a signal too: nobody would ever know of this model
            load.undo()
            if isinstance(error, WireError):
                raise unusable(error, spec, remedy=llama_router.BUILD) from error
            raise
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether that very process lives and the router lists its model as loaded."""
        if loaded.identity is None or life(loaded.identity) is Life.DEAD:
            return False
        router = llama_router.found()
        entry = ((listed(router) if router else None) or {}).get(model)
        return entry is not None and state_of(entry) == "loaded"

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no engine slot is at work; False when the model does not say."""
        wire = _wire(loaded)
        usage = llama_slots.slots(wire) if wire else None
        return usage is not None and usage.busy == 0

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        """Its engine slots, as the model says; None when it is not loaded or does not answer."""
        wire = _wire(loaded)
        return llama_slots.usage(wire) if wire else None

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Done when the model's process is gone; one that does not go is ended by its identity.

        What a router left behind when it ended, loaded or still loading, is ended too: nobody reaches it any more.
        """
        router = llama_router.found()
        child = router.child(model) if router else None
        if router is None or child is None:  # the latter also while a router ends
            left = [loaded.identity, *llama_router.of_model(model)]
            ended = [end(one, grace_seconds=0.0) for one in left if one is not None]
            return all(ended)
        if loaded.identity is not None and loaded.identity != child.identity:
            return end(loaded.identity, grace_seconds=UNLOAD_SECONDS)
        return drop(router, model, child)

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
        if llama_folder.folder().is_dir():
            with llama_folder.locked():
                llama_router.end_all()


def _wire(loaded: Loaded) -> Wire | None:
    """None once its process is gone: its port may be anybody's then, and the key is that of every other model too."""
    if loaded.identity is None or life(loaded.identity) is Life.DEAD:
        return None
    return Wire(loaded.address, loaded.api_key)


def _running(entry: dict[str, Any], child: Child) -> Running:
    told = llama_presets.told_to(entry)
    slots, context = _counted(told.get("parallel")), _counted(told.get("ctx-size"))
    shared = context // slots if context and slots else None
    return Running(entry["id"], state_of(entry), (child.identity.pid,), context_tokens=shared, engine_slots=slots)


def _counted(value: str | None) -> int | None:
    """None for what is no number above 0, such as `auto`: a section may have been written by others."""
    return int(value) or None if value is not None and value.isdecimal() and len(value) < MOST_DIGITS else None
