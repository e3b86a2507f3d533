"""Loads that fail, meet other processes, or lose their router: what is ended, and what is left alone."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from governor.engines import llama_folder
from governor.engines.llama_server import LlamaServerEngine
from governor.engines.protocol import Loaded
from governor.errors import DoesNotFit, ModelFailed, NotReady
from governor.processes import Identity, Life, identify, life
from governor.settings import Home
from tests.fakes.llama_program import (
    CORRUPT,
    OUT_OF_MEMORY,
    SPEC,
    engine_with_stand_in,
    process_of,
    router,
    tell_faults,
)

OTHER = SPEC.model_copy(update={"context_tokens": 4096})
NEVER_RECORDED = Loaded("", None, None, None)


@pytest.fixture
def server(hotdesk_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlamaServerEngine]:
    with engine_with_stand_in(hotdesk_home, tmp_path, monkeypatch) as server:
        yield server


class Once:
    """A watcher that does something when it first sees the process of the model, and remembers that process."""

    def __init__(self, do: Callable[[int], object]) -> None:
        self._do = do
        self.seen: list[Identity] = []
        self.calls: list[float] = []

    def __call__(self, pids: Sequence[int]) -> None:
        self.calls.append(time.monotonic())
        if pids and not self.seen:
            self.seen.append(identify(pids[0]))
            self._do(pids[0])


def refuse(_: object) -> None:
    raise RuntimeError("no")


def lose_the_router(pid: int) -> None:
    """The model's process stands still, as one that is slow to load: it does not notice that its router is gone."""
    os.kill(pid, signal.SIGSTOP)
    os.kill(router().identity.pid, signal.SIGKILL)


def test_a_failed_load_of_what_ran_already_leaves_it_alone(server: LlamaServerEngine):
    first = server.load(SPEC)
    with pytest.raises(RuntimeError):
        server.load(SPEC, record=refuse)
    assert server.alive(first, "small")
    with pytest.raises(RuntimeError):
        server.load(SPEC, watch=refuse)
    assert server.alive(first, "small")


def test_a_late_load_of_what_somebody_else_loads_leaves_it_alone(server: LlamaServerEngine):
    server.unload(server.load(SPEC), "small")
    tell_faults(stay=True)
    router().wire.post("/models/load", {"model": "small"})
    with pytest.raises(ModelFailed, match="in time"):
        server.load(SPEC, deadline_seconds=0.5)
    assert [one.state for one in server.residents() or []] == ["loading"]


def test_what_somebody_else_loaded_meanwhile_outlives_a_failure_after_it_was_taken_over(server: LlamaServerEngine):
    tell_faults(load=400, loaded=True)
    with pytest.raises(RuntimeError):
        server.load(SPEC, record=refuse)
    assert [one.state for one in server.residents() or []] == ["loaded"]


def test_a_load_whose_answer_never_comes_is_ended(server: LlamaServerEngine):
    server.unload(server.load(SPEC), "small")
    tell_faults(late=2.0)
    with pytest.raises(ModelFailed) as caught:
        server.load(SPEC, deadline_seconds=0.5)
    assert caught.value.data["retryable"] is True
    tell_faults()
    assert server.residents() == []


def test_what_another_process_loads_in_its_place_is_told_from_what_was_asked_for(server: LlamaServerEngine):
    theirs: list[Loaded] = []

    def replace(pid: int) -> None:
        tell_faults()
        assert server.unload(Loaded("", None, identify(pid), None), "small")
        theirs.append(server.load(OTHER))

    tell_faults(stay=True)
    with pytest.raises(ModelFailed, match="another process loaded") as caught:
        server.load(SPEC, watch=Once(replace))
    assert caught.value.data["retryable"] is True
    assert server.alive(theirs[0], "small")


def test_a_load_that_fails_ends_the_process_that_it_saw_and_not_the_one_in_its_place(server: LlamaServerEngine):
    theirs: list[Loaded] = []

    def replace(pid: int) -> None:
        tell_faults()
        assert server.unload(Loaded("", None, identify(pid), None), "small")
        theirs.append(server.load(SPEC))
        raise RuntimeError("no")

    tell_faults(stay=True)
    with pytest.raises(RuntimeError):
        server.load(SPEC, watch=Once(replace))
    assert server.alive(theirs[0], "small")


def test_what_another_process_loads_in_its_place_as_it_was_asked_for_is_used_and_stays_theirs(
    server: LlamaServerEngine,
):
    theirs: list[Loaded] = []

    def replace(pid: int) -> None:
        tell_faults()
        assert server.unload(Loaded("", None, identify(pid), None), "small")
        theirs.append(server.load(SPEC))

    tell_faults(stay=True)
    with pytest.raises(RuntimeError):
        server.load(SPEC, watch=Once(replace), record=refuse)
    assert server.alive(theirs[0], "small")
    tell_faults()
    assert server.load(SPEC).identity == theirs[0].identity


def test_a_load_that_another_process_ended_may_be_asked_again(server: LlamaServerEngine):
    def end_it(_pid: int) -> None:
        router().wire.post("/models/unload", {"model": "small"})

    tell_faults(stay=True)
    with pytest.raises(ModelFailed, match="another process") as caught:
        server.load(SPEC, watch=Once(end_it))
    assert caught.value.data["retryable"] is True


def test_a_model_that_was_still_loading_does_not_outlive_its_router(server: LlamaServerEngine):
    tell_faults(stay=True)
    watch = Once(lose_the_router)
    with pytest.raises(ModelFailed, match="ended while it loaded"):
        server.load(SPEC, watch=watch)
    assert [life(child) for child in watch.seen] == [Life.DEAD]


def test_unloading_without_a_router_ends_what_it_left_behind_though_nobody_recorded_it(server: LlamaServerEngine):
    left, other = server.load(SPEC), server.load(SPEC.model_copy(update={"model": "other"}))
    os.kill(process_of(other).pid, signal.SIGSTOP)
    lose_the_router(process_of(left).pid)
    assert server.unload(NEVER_RECORDED, "small")
    assert life(process_of(left)) is Life.DEAD
    assert life(process_of(other)) is Life.ALIVE
    os.kill(process_of(other).pid, signal.SIGCONT)


def test_a_router_that_stands_still_while_a_model_loads_keeps_nobody_from_watching(server: LlamaServerEngine):
    watch = Once(lambda _pid: os.kill(router().identity.pid, signal.SIGSTOP))
    tell_faults(stay=True)
    begun = time.monotonic()
    try:
        with pytest.raises(ModelFailed, match="in time"):
            server.load(SPEC, watch=watch, deadline_seconds=2.0)
    finally:
        os.kill(router().identity.pid, signal.SIGCONT)
    assert time.monotonic() - begun < 4.0
    assert max(later - sooner for sooner, later in zip(watch.calls, watch.calls[1:], strict=False)) < 0.6
    assert [life(child) for child in watch.seen] == [Life.DEAD]


def test_a_lock_that_somebody_keeps_is_waited_for_until_the_deadline(server: LlamaServerEngine):
    begun = time.monotonic()
    with llama_folder.locked(), pytest.raises(NotReady, match="keeps its lock") as caught:
        server.load(SPEC, deadline_seconds=0.2)
    assert time.monotonic() - begun < 5.0
    assert "build_llama_server" not in caught.value.remedy
    assert "hotdesk status" in caught.value.remedy


def test_what_other_models_write_into_the_log_is_not_taken_for_this_one(server: LlamaServerEngine):
    tell_faults(others=[f"[7] {line}" for line in OUT_OF_MEMORY], said=CORRUPT, fail=1)
    with pytest.raises(Exception, match="not within the file bounds"):
        server.load(SPEC)
    tell_faults(others=["[7] 0.1 I load_tensors: offloaded 10/33 layers to GPU"])
    server.unload(server.load(SPEC.model_copy(update={"gpu_layers": -1})), "small")
    tell_faults(
        others=["[7] 0.1 I load_tensors: offloaded 33/33 layers to GPU"], said=["0.1 I offloaded 9/33 layers to GPU"]
    )
    with pytest.raises(DoesNotFit, match="only 9 of its 33"):
        server.load(SPEC.model_copy(update={"gpu_layers": -1}))
