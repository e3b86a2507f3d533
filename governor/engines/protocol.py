"""What hotdesk needs from an inference engine, and nothing more. One file beside this per engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from governor.policy.facts import ModelSpec, Weights
from governor.processes import Identity


@dataclass(frozen=True)
class Loaded:
    """A model that is in memory, and how to reach it.

    Attributes:
        address: base URL of the engine, without a path.
        api_key: what the engine wants to hear, None when it wants nothing. Never shown.
        identity: the process that holds the model, None when the engine is a server that is not ours.
        memory_mib: what it takes as the engine says, None when it does not say. The driver's word counts more.
        pids: the processes that hold its memory, empty when they cannot be told.
    """

    address: str
    api_key: str | None = field(repr=False)
    identity: Identity | None
    memory_mib: float | None
    pids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Running:
    """A model in an engine's memory, in the engine's own words. What it does not say is None or empty.

    Attributes:
        state: `loading`, `loaded` or `unloading`.
        context_tokens: of one request. engine_slots: requests that can run at once.
        size_mib: all of it, vram_mib: the part on the card, as the engine counts.
    """

    model: str
    state: str
    pids: tuple[int, ...] = ()
    context_tokens: int | None = None
    engine_slots: int | None = None
    size_mib: float | None = None
    vram_mib: float | None = None


@dataclass(frozen=True)
class Usage:
    """What a loaded model is busy with: its engine slots, how many of them work, the context of one request.

    Attributes:
        filled_tokens: in the fullest context at work, 0 while none is; None when the engine does not say.
        deferred: requests that wait for an engine slot; None when the engine does not say, or was not asked.
    """

    engine_slots: int
    busy: int
    context_tokens: int
    filled_tokens: int | None = None
    deferred: int | None = None


Record = Callable[[Loaded], None]
Watch = Callable[[Sequence[int]], None]


def forget(_loaded: Loaded) -> None:
    """Record nothing: for callers that unload again themselves."""


def unwatched(_pids: Sequence[int]) -> None:
    """Watch nothing: for callers to whom memory is no concern."""


class Engine(Protocol):
    """An engine as the residency sees it. Every method is bounded in time."""

    name: str
    # Run only against a fake of its wire format so far.
    experimental: bool
    # Whether its list says how much of a model is on the card (`Running.vram_mib`).
    accounts_for_vram: bool
    # How it can keep a context at the choice of who loads, best first.
    cache_types: tuple[str, ...]

    def health(self) -> str | None:
        """None when the engine can be used, else the reason why not."""
        ...

    def weights(self, spec: ModelSpec) -> Weights | None:
        """What the header of its weights says, without loading them; None when it cannot be had."""
        ...

    def residents(self) -> list[Running] | None:
        """Every model in its memory, whoever asked for it; None when it cannot be asked, which is not nothing."""
        ...

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        """Bring a model into memory; return only once it serves, and leave nothing behind on an error.

        `record` is called once it serves and before it may outlive this process: a process that is
        killed in between leaves either no engine or one that is on record. `watch` is called every tenth
        of a second while it loads, with the pids that load (none when they cannot be told); what it raises
        ends the load and is passed on.

        Raises:
            BadInput: the weights are corrupt, or not for this engine.
            NotReady: the weights or the engine's server are missing.
            DoesNotFit: it loaded only in part where it was meant to be (spill).
            ModelFailed: it did not come up, or not within the deadline; data `retryable`.
        """
        ...

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether it still serves this model."""
        ...

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no request is running; True where the engine cannot say."""
        ...

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        """Its engine slots and context; None where the engine cannot say. Never loads or wakes a model."""
        ...

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Take the model out of memory; True once the engine is done with it, safe to ask again.

        Whether the memory is back the driver says, and `governor.residency` asks it.
        """
        ...

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """What `governor.inference` needs to reach it.

        litellm's own arguments (`model`, `api_base`, `api_key`, ...), and `choices_as`: how the engine
        is told to answer with one of a few labels, `grammar` (GBNF) or `schema` (the default).
        """
        ...

    def close(self) -> None:
        """End what it runs beside its models, such as a router of ours. `hotdesk down` calls this."""
        ...
