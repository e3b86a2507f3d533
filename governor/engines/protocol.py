"""What hotdesk needs from an inference engine, and nothing more. One file beside this per engine."""

from dataclasses import dataclass
from typing import Any, Protocol

from governor.policy.facts import ModelSpec
from governor.processes import Identity


@dataclass(frozen=True)
class Loaded:
    """A model that is in memory. `identity` is None when the engine is a server that is not ours."""

    address: str
    api_key: str | None
    identity: Identity | None
    memory_mib: float | None


class Engine(Protocol):
    """An engine as the residency sees it. Every method is bounded in time."""

    name: str

    def health(self) -> str | None:
        """None when the engine can be used, else the reason why not."""
        ...

    def load(self, spec: ModelSpec, *, deadline_seconds: float = 60.0) -> Loaded:
        """Bring a model into memory and answer only once it serves.

        Raises:
            BadInput: the weights are missing or corrupt. NotReady: the engine cannot be used.
            ModelFailed: it did not come up within the deadline.
        """
        ...

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether it still serves this model."""
        ...

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no request is running."""
        ...

    def unload(self, loaded: Loaded, model: str) -> bool:
        """Take the model out of memory; True once the memory is back."""
        ...

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """What litellm needs to reach it: `model`, `api_base`, `api_key`."""
        ...
