"""The surroundings that `EngineContract` is played in: one engine, its models, and the ways to make it fail."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from governor import inference
from governor.engines.protocol import Engine, Loaded, Running, Watch
from governor.errors import HotdeskError
from governor.policy.facts import ModelSpec
from governor.policy.requests import ModelRequest
from governor.processes import life, wait_dead

# With a grammar or a schema behind it, this answer takes any small model seconds.
LONG_ANSWER = ("x" * 700,)
ANSWER_SECONDS = 60.0


def cannot(what: str) -> NoReturn:
    """This stage has no way to do that."""
    pytest.skip(f"this stage cannot {what}")


class Stage:
    """One engine and its surroundings. Override what the engine needs and the faults that can be had.

    Attributes:
        spec: a model that it can load. second: another one that may be in memory beside it, if any; a stage
        without one must not keep its model from one test to the next.
        tells_context: whether its list says the context of a model.
    """

    engine: Engine
    spec: ModelSpec
    second: ModelSpec | None = None
    tells_context = True

    def loaded(self) -> Loaded:
        """The model of `spec` in memory; a stage may keep it from one test to the next."""
        return self.engine.load(self.spec)

    def missing(self) -> ModelSpec:
        """A model that is not there."""
        return self.spec.model_copy(update={"model": "not-there", "source": "not-there"})

    def processes(self) -> set[int]:
        """Processes that hold or load models of this stage; none where its engine has none of its own."""
        return set()

    def absent(self) -> None:
        """From now on the engine cannot be used: its server does not run."""
        cannot("be without its engine")

    def slow_load(self) -> None:
        """Loads take at least 0.4 s from now on."""

    def slow_unload(self) -> None:
        """An unload is answered before it happens from now on."""
        cannot("answer an unload early")

    def stale_list(self) -> None:
        """The engine's list names a model for ever, whatever was unloaded."""
        cannot("keep a model in its list")

    def queue_full(self) -> None:
        """The engine refuses all work for now."""
        cannot("have a full queue")

    def spills(self) -> None:
        """The next load puts a part of the model where it was not meant to be."""
        cannot("spill")

    def dies_mid_load(self) -> Watch:
        """The next load dies; gives the watcher to load with, which may be what kills it."""
        cannot("die while it loads")

    def hangs(self) -> None:
        """Prepare the engine so that a completion lasts until it is killed."""

    def generating(self, loaded: Loaded) -> bool:
        """Whether a completion has begun."""
        usage = self.engine.usage(loaded, self.spec.model)
        return usage is not None and usage.busy > 0

    def kill(self, loaded: Loaded) -> None:
        """End the process that holds the model, or the server, at once."""
        if loaded.identity is None:
            cannot("be killed")
        os.kill(loaded.identity.pid, signal.SIGKILL)
        assert wait_dead(loaded.identity, 5.0), life(loaded.identity)


@dataclass
class Watching:
    """A watcher that counts its calls and, at one of them, raises."""

    error: BaseException | None = None
    at_call: int = 2
    calls: list[float] = field(default_factory=list)
    pids: set[int] = field(default_factory=set)

    def __call__(self, pids: Sequence[int]) -> None:
        self.calls.append(time.monotonic())
        self.pids |= set(pids)
        if self.error is not None and len(self.calls) >= self.at_call:
            raise self.error


def eventually(done: Callable[[], bool], seconds: float) -> bool:
    """Ask until it is so, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def rows_of(stage: Stage, spec: ModelSpec | None = None) -> list[Running]:
    """The engine's rows of the stage's model: others may use the same machine."""
    rows = stage.engine.residents()
    assert rows is not None, "the engine cannot be asked"
    return [row for row in rows if row.model == (spec or stage.spec).model]


def ask(stage: Stage, loaded: Loaded, **fields: Any) -> inference.Completion:
    """A completion as an agent gets it."""
    request = ModelRequest.model_validate({"kind": "write", "prompt": "Say hello.", "max_tokens": 8, **fields})
    parameters = stage.engine.litellm_parameters(stage.spec, loaded)
    return inference.complete(request, parameters, deadline_seconds=ANSWER_SECONDS)


def reasons(error: HotdeskError) -> str:
    """All that a person reads of it."""
    return f"{error.happened} {error.means} {error.remedy}"
