"""One load by llama-server's router: told to it, waited for, and ended again when it fails, that load and no other.

What others run or loaded meanwhile is theirs: a load that took over what ran already ends nothing, and one that
started a process ends that very process. How the router is found is `llama_router`.
"""

import contextlib
import time
from typing import Any

import psutil

from governor.engines import llama_log, llama_presets, llama_router
from governor.engines.llama_folder import log_file, presets_file
from governor.engines.llama_router import Child, Router
from governor.engines.protocol import Loaded, Watch
from governor.engines.wire import ASK_SECONDS, SLICE_SECONDS, Fault, WireError, failed, time_left
from governor.policy.facts import ModelSpec
from governor.processes import Identity, Life, end, life
from governor.settings import MIB

# In the router's words; `sleeping` models are in memory in part, and none of ours is told to sleep.
IN_MEMORY = {"loading": "loading", "loaded": "loaded", "sleeping": "loaded"}
ALREADY_RUNNING = 400
# From here on a refusal does not say that nothing was started.
SERVER_ERROR = 500
# A small model loads in 0.16 s, so a look each 10 ms (1 ms of work) adds 3% at most.
POLL_SECONDS = 0.01
# It reads the header of every model that does not run, 20 ms each.
RELOAD_SECONDS = 10.0
# The router kills it at once; what the driver does takes 0.3 s at most (measured). Then it is ended from here.
UNLOAD_SECONDS = 10.0
GONE_POLL_SECONDS = 0.002


class Load:
    """One load of `spec` until `deadline` (of the monotonic clock); `told` is its section of the presets."""

    def __init__(self, spec: ModelSpec, told: dict[str, str], deadline: float, watch: Watch) -> None:
        self._spec, self._told, self._deadline = spec, told, deadline
        self._watch = _Paced(watch)
        self._router: Router | None = None
        self._child: Child | None = None
        self._since = 0
        # Whether what loads was started by this load, as far as can be told.
        self._begun = False

    def tell(self) -> None:
        """See that the model runs, or have a router start it. To be called under `llama_folder.locked`.

        Raises:
            NotReady: no router can be had. ModelFailed: it runs with other settings. WireError: the router does not
            answer as it should. Whatever the watch raises.
        """
        self._router = llama_router.ensure(self._deadline, self._watch)
        entry = self._settled(self._router)
        self._since = llama_log.size_of(log_file())
        if entry is not None and runs(entry):
            if llama_presets.same(self._told, entry):
                return
            raise failed(self._spec, "runs it with other settings; it has to be unloaded first", retryable=True)
        if entry is None or not llama_presets.same(self._told, entry):
            llama_presets.write(presets_file(), self._spec.model, self._told)
            self._ask(self._router, "GET", "/models?reload=1", seconds=RELOAD_SECONDS)
            self._since = llama_log.size_of(log_file())
        self._start(self._router)

    def serving(self) -> Loaded:
        """The model once it serves, all of it where it was meant to be.

        Raises:
            BadInput, DoesNotFit, ModelFailed: what a failed or late load means. Whatever the watch raises.
        """
        while True:
            router, entry = self._looked()
            state = state_of(entry) if entry else None
            if entry and state == "loaded" and (child := self._settled_child(router, entry)):
                return self._whole(child, router)
            if state == "unloaded":
                path, port = llama_presets.weights_path(self._spec), self._child.port if self._child else None
                raise llama_log.why_not(self._spec, log_file(), self._since, path, port)
            if life(router.identity) is Life.DEAD:
                raise failed(self._spec, "ended while it loaded", retryable=True)
            if time.monotonic() >= self._deadline:
                raise failed(self._spec, "was not up in time", retryable=True)
            self._watch(self._pids())
            time.sleep(POLL_SECONDS)

    def undo(self) -> None:
        """End what this load started, if it started something, and nothing else; the router need not live."""
        if self._router is None or not self._begun:
            return
        if child := self._child or self._router.child(self._spec.model):
            end(child.identity, grace_seconds=0.0)
        else:
            drop(self._router, self._spec.model, None)
        if life(self._router.identity) is Life.DEAD and llama_router.found() is None:
            for orphan in llama_router.of_model(self._spec.model):
                end(orphan, grace_seconds=0.0)

    def _start(self, router: Router) -> None:
        self._begun = True  # before it is sent: from then on nobody can be sure of the contrary
        try:
            self._ask(router, "POST", "/models/load", {"model": self._spec.model})
        except WireError as error:
            self._begun = error.status is None or error.status >= SERVER_ERROR
            # Who loads by the router's own API asks for no lock: what they load is taken over when it is the same.
            now = (listed(router) or {}).get(self._spec.model)
            same = now is not None and runs(now) and llama_presets.same(self._told, now)
            if error.status != ALREADY_RUNNING or not same:
                raise

    def _settled(self, router: Router) -> dict[str, Any] | None:
        """The list's entry, once it does not show as running what has no process any more. Raises WireError."""
        latest = time.monotonic() + UNLOAD_SECONDS
        while True:
            entry = entries_of(self._ask(router, "GET", "/models")).get(self._spec.model)
            stale = entry is not None and runs(entry) and router.child(self._spec.model) is None
            if not stale or time.monotonic() >= latest:
                return entry
            time.sleep(POLL_SECONDS)

    def _looked(self) -> tuple[Router, dict[str, Any] | None]:
        """The router, what its list says of the model, None when it does not; the model's process is remembered."""
        assert self._router is not None, "it was not told"
        self._child = self._child or self._router.child(self._spec.model)
        with contextlib.suppress(WireError):
            return self._router, entries_of(self._ask(self._router, "GET", "/models")).get(self._spec.model)
        return self._router, None

    def _settled_child(self, router: Router, entry: dict[str, Any]) -> Child | None:
        """The process that serves by now; None when the list is behind.

        Another process may have unloaded what this load started, and loaded it anew: then it is theirs.

        Raises:
            ModelFailed: theirs has other settings.
        """
        child = router.child(self._spec.model)
        same = llama_presets.same(self._told, entry)
        if not same or (child and self._child and child.identity != self._child.identity):
            self._begun = False
        if not same:
            raise failed(self._spec, "runs it with other settings, which another process loaded", retryable=True)
        if child:
            self._child = child
        return child

    def _whole(self, child: Child, router: Router) -> Loaded:
        """Raises DoesNotFit: not all of it is where it was meant to be."""
        self._watch(self._pids())
        if why := llama_log.spilled(self._spec, log_file(), self._since, child.port):
            raise llama_log.does_not_fit(self._spec, why)
        memory_mib = None
        if self._spec.gpu_layers == 0:
            with contextlib.suppress(psutil.Error):
                # Resident, shared pages included: what has to be there for it, whoever else maps the same file.
                memory_mib = psutil.Process(child.identity.pid).memory_info().rss / MIB
        return Loaded(child.address, router.api_key, child.identity, memory_mib, self._pids())

    def _ask(self, router: Router, method: str, path: str, body: Any = None, *, seconds: float = ASK_SECONDS) -> Any:
        """Watched, and never past the deadline. Raises WireError, and whatever the watch raises."""
        seconds = min(seconds, time_left(self._deadline))
        return router.wire.watched(method, path, body, seconds=seconds, watch=self._watch, pids=self._pids)

    def _pids(self) -> tuple[int, ...]:
        return (self._child.identity.pid,) if self._child else ()


class _Paced:
    """A watch that is called every tenth of a second, however often it is called here, and at once for a new pid."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._called, self._pids = float("-inf"), tuple[int, ...]()

    def __call__(self, pids: Any) -> None:
        if time.monotonic() - self._called >= SLICE_SECONDS / 2 or tuple(pids) != self._pids:
            self._called, self._pids = time.monotonic(), tuple(pids)
            self._watch(self._pids)


def drop(router: Router, model: str, child: Child | None) -> bool:
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


def listed(router: Router) -> dict[str, dict[str, Any]] | None:
    """The router's list by name; None when it cannot be had."""
    with contextlib.suppress(WireError):
        return entries_of(router.wire.get("/models"))
    return None


def entries_of(answer: Any) -> dict[str, dict[str, Any]]:
    """The models of the router's answer, by name. Raises WireError: it is no list, which is not an empty one."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise WireError(Fault.BROKEN, f"the router's list of models is {str(answer)[:80]}")
    return {row["id"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)}


def state_of(entry: dict[str, Any]) -> str:
    """Its state in the Protocol's words, as far as it has some; else in the router's."""
    status = entry.get("status")
    value = str(status.get("value")) if isinstance(status, dict) else ""
    return IN_MEMORY.get(value, value)


def runs(entry: dict[str, Any]) -> bool:
    """Whether the list says that it is in memory, or on its way."""
    return state_of(entry) in IN_MEMORY
