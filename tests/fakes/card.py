"""FAKES: a card that only counts, and an engine that takes of it what a model would. Nothing is loaded.

For what the real engine cannot be made to show on a machine without a GPU: a neighbour that takes memory, an
unload that gives nothing back, layers left on the CPU. The rows, the transactions and the policies are real.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from types import ModuleType
from typing import Any

import pytest

from governor import engines, memory
from governor.engines.protocol import Loaded, Record, Running, Usage, Watch, forget, unwatched
from governor.errors import ModelFailed
from governor.policy.facts import ModelSpec, Weights

# Pids that no process of this machine has (the kernel's limit is 2**22): a fake may not speak for a real one.
FIRST_PID = 2**22 + 1


class FakeCard:
    """Memory by pid. `says_pids` False: like a driver that hides what single processes hold."""

    place, cards = "GPU-fake", 1

    def __init__(self, total_mib: float = 6144.0) -> None:
        self.total = total_mib
        self.by_pid: dict[int, float] = {}
        self.says_pids = True
        self.lowest_free = total_mib
        self.overcommitted = False

    def free_mib(self) -> float | None:
        return self.total - sum(self.by_pid.values())

    def total_mib(self) -> float | None:
        return self.total

    def held_mib(self, pids: Sequence[int]) -> float | None:
        return sum(self.by_pid.get(pid, 0.0) for pid in pids) if self.says_pids else None

    def take(self, pid: int, mib: float) -> None:
        """More than there is cannot be had: a real driver answers out of memory."""
        if mib > (self.free_mib() or 0.0):
            self.overcommitted = True
            raise MemoryError
        self.by_pid[pid] = self.by_pid.get(pid, 0.0) + mib
        self.lowest_free = min(self.lowest_free, self.free_mib() or 0.0)

    def give_back(self, pid: int) -> None:
        self.by_pid.pop(pid, None)


class FakeEngine:
    """An engine on a `FakeCard`. `needs_mib` says what a model takes at a context, for the truth and the estimate.

    Attributes:
        during_load: called between the pieces of a load; a neighbour lives here.
        gives_back: False leaves the memory taken after an unload that was answered.
        on_card_share: part of the model that comes onto the card. first_use_mib: what `use` takes on top.
        header: what the weights say, None like an engine that cannot read them. calls: what was asked, in order.
        usages: what each model is busy with. accounts: MiB on the card, as the engine says, of each model.
    """

    name = "fake"
    experimental = False
    accounts_for_vram = True
    cache_types: tuple[str, ...] = ("f16", "q8_0")

    def __init__(self, card: FakeCard, needs_mib: Callable[[ModelSpec], float]) -> None:
        self.card, self.needs_mib = card, needs_mib
        self.models: dict[str, tuple[int, ModelSpec]] = {}
        self.calls: list[tuple[str, str]] = []
        self.during_load: Callable[[], None] = lambda: None
        self.gives_back, self.on_card_share = True, 1.0
        self.first_use_mib = 0.0
        self.header: Weights | None = None
        self.usages: dict[str, Usage] = {}
        self.accounts: dict[str, float] = {}
        self._pids = count(FIRST_PID)

    def health(self) -> str | None:
        return None

    def weights(self, spec: ModelSpec) -> Weights | None:
        return self.header

    def residents(self) -> list[Running] | None:
        return [
            Running(model, "loaded", (pid,), spec.context_tokens, vram_mib=self.accounts.get(model))
            for model, (pid, spec) in self.models.items()
        ]

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        self.calls.append(("load", spec.model))
        pid, whole = next(self._pids), self.needs_mib(spec) * self.on_card_share
        try:
            for _ in range(8):
                self.card.take(pid, whole / 8)
                self.during_load()
                watch((pid,))
            loaded = Loaded("http://127.0.0.1:1", None, None, whole, (pid,))
            record(loaded)
        except MemoryError as error:
            self.card.give_back(pid)
            raise ModelFailed(f"{spec.model} ran out of memory.", remedy="None.", retryable=False) from error
        except BaseException:
            self.card.give_back(pid)
            raise
        self.models[spec.model] = (pid, spec)
        return loaded

    def use(self, model: str) -> None:
        """What a first request makes it take on top."""
        self.card.take(self.models[model][0], self.first_use_mib)

    def alive(self, loaded: Loaded, model: str) -> bool:
        return model in self.models

    def quiet(self, loaded: Loaded, model: str) -> bool:
        return True

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        return self.usages.get(model)

    def unload(self, loaded: Loaded, model: str) -> bool:
        self.calls.append(("unload", model))
        pid, _ = self.models.pop(model, (0, None))
        if self.gives_back:
            self.card.give_back(pid)
        return True

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        return None


@contextmanager
def fake_card(
    monkeypatch: pytest.MonkeyPatch, needs_mib: Callable[[ModelSpec], float], total_mib: float = 6144.0
) -> Iterator[FakeEngine]:
    """The card behind `vram` and the engine behind `fake`, for one test."""
    card = FakeCard(total_mib)
    made = FakeEngine(card, needs_mib)
    module = ModuleType("governor.engines.fake")
    vars(module)["FakeEngine"] = lambda: made
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "governor.engines.fake", module)
        patched.setitem(engines.CLASSES, "fake", "FakeEngine")
        patched.setitem(memory.MEMORIES, "vram", lambda: card)
        engines.engine.cache_clear()
        yield made
    engines.engine.cache_clear()
