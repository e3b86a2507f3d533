"""What hotdesk needs from an inference engine, and nothing more. One file beside this per engine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from governor.policy.facts import ModelSpec
from governor.processes import Identity


@dataclass(frozen=True)
class Loaded:
    """A model that is in memory, and how to reach it.

    Attributes:
        address: base URL of the engine, without a path.
        api_key: what the engine wants to hear, None when it wants nothing. Never shown.
        identity: the process that holds the model, None when the engine is a server that is not ours.
        memory_mib: what it took after loading, None when the engine does not say.
    """

    address: str
    api_key: str | None = field(repr=False)
    identity: Identity | None
    memory_mib: float | None


Record = Callable[[Loaded], None]


def forget(_loaded: Loaded) -> None:
    """Record nothing: for callers that unload again themselves."""


class Engine(Protocol):
    """An engine as the residency sees it. Every method is bounded in time."""

    name: str

    def health(self) -> str | None:
        """None when the engine can be used, else the reason why not."""
        ...

    def load(self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget) -> Loaded:
        """Bring a model into memory; return only once it serves, and leave nothing behind on an error.

        `record` is called once it serves and before it may outlive this process: a process that is
        killed in between leaves either no engine or one that is on record.

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

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Take the model out of memory; True once the memory is really back."""
        ...

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """What `governor.inference` needs to reach it.

        litellm's own arguments (`model`, `api_base`, `api_key`, ...), and `choices_as`: how the engine
        is told to answer with one of a few labels, `grammar` (GBNF) or `schema` (the default).
        """
        ...
