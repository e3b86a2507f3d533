"""The engine llama_server against a program that stands in for the real one, with the faults that one never shows."""

import dataclasses
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from governor.engines import engine, llama_folder, llama_router
from governor.engines.llama_server import LlamaServerEngine
from governor.engines.protocol import Loaded
from governor.errors import BadInput, DoesNotFit, HotdeskError, ModelFailed, NotReady
from governor.processes import Life, life
from governor.settings import Home
from tests.fakes import llama_server as fake
from tests.fakes.http_server import Exchange, FakeServer
from tests.fakes.llama_program import (
    CORRUPT,
    OUT_OF_MEMORY,
    SPEC,
    Faults,
    engine_with_stand_in,
    process_of,
    router,
    tell_faults,
)


@pytest.fixture
def server(hotdesk_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LlamaServerEngine]:
    with engine_with_stand_in(hotdesk_home, tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def faults(hotdesk_home: Home) -> Faults:
    return tell_faults


def test_it_is_found_by_its_name():
    assert isinstance(engine("llama_server"), LlamaServerEngine)


def test_without_the_program_it_says_how_to_get_one(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(llama_router.NAMED_BY, "no-such-program")
    (hotdesk_home.weights / SPEC.source).write_bytes(b"weights")
    assert "build_llama_server.sh" in (LlamaServerEngine().health() or "")
    with pytest.raises(NotReady, match=r"build_llama_server\.sh"):
        LlamaServerEngine().load(SPEC)


def test_a_program_that_ends_at_once_is_not_ready_and_its_words_are_told(server: LlamaServerEngine, faults: Faults):
    faults(end="error: unknown argument: --models-preset")
    assert server.health() is None
    with pytest.raises(NotReady, match="unknown argument"):
        server.load(SPEC)


def test_nothing_is_in_memory_and_nothing_is_started_while_no_router_runs(server: LlamaServerEngine):
    gone = Loaded("", None, None, None)
    assert server.residents() == []
    assert server.usage(gone, "small") is None
    assert not server.alive(gone, "small")
    assert not server.quiet(gone, "small")
    assert server.unload(gone, "small")
    server.close()
    assert not llama_folder.folder().exists()


def test_what_is_loaded_is_listed_with_its_context_and_its_process(server: LlamaServerEngine):
    loaded = server.load(SPEC.model_copy(update={"engine_slots": 4}))
    (running,) = server.residents() or []
    assert (running.model, running.state, running.context_tokens, running.engine_slots) == ("small", "loaded", 2048, 4)
    assert running.pids == loaded.pids == (process_of(loaded).pid,)
    assert loaded.address == f"http://127.0.0.1:{fake.PORT}" != router().address


def test_its_files_are_private_and_its_key_is_not_shown(server: LlamaServerEngine):
    loaded = server.load(SPEC)
    for path in (*llama_folder.folder().iterdir(), llama_folder.log_file()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert loaded.api_key
    assert loaded.api_key not in repr(router())


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (OUT_OF_MEMORY, DoesNotFit, "out of memory"),
        (CORRUPT, BadInput, "not within the file bounds"),
        (("Segmentation fault",), ModelFailed, "Segmentation fault"),
        ((), ModelFailed, "no word"),
    ],
)
def test_a_failed_load_says_what_the_log_says_and_leaves_nothing(
    said: tuple[str, ...], kind: type[HotdeskError], words: str, server: LlamaServerEngine, faults: Faults
):
    faults(said=said, fail=1)
    with pytest.raises(kind, match=words) as caught:
        server.load(SPEC)
    assert type(caught.value) is kind
    assert server.residents() == []


def test_the_log_of_an_earlier_load_is_not_taken_for_this_one(server: LlamaServerEngine, faults: Faults):
    faults(said=OUT_OF_MEMORY, fail=1)
    with pytest.raises(DoesNotFit):
        server.load(SPEC)
    faults(said=CORRUPT, fail=1)
    with pytest.raises(BadInput):
        server.load(SPEC)


@pytest.mark.parametrize(("status", "words", "again"), [(503, "queue is full", True), (404, "answered 404", False)])
def test_a_refused_load_tells_whether_to_ask_again(
    status: int, words: str, again: bool, server: LlamaServerEngine, faults: Faults
):
    faults(load=status)
    with pytest.raises(ModelFailed, match=words) as caught:
        server.load(SPEC)
    assert caught.value.data["retryable"] is again


def test_a_load_that_somebody_else_made_meanwhile_is_taken_over(server: LlamaServerEngine, faults: Faults):
    faults(load=400, loaded=True)
    assert server.alive(server.load(SPEC), "small")


def test_a_load_refused_with_400_for_another_reason_fails(server: LlamaServerEngine, faults: Faults):
    faults(load=400)
    with pytest.raises(ModelFailed, match="answered 400"):
        server.load(SPEC)


def test_a_list_that_still_says_loaded_does_not_stop_the_next_load(server: LlamaServerEngine, faults: Faults):
    faults(stale=4)
    first = server.load(SPEC)
    assert server.unload(first, "small")
    assert server.residents() == []
    second = server.load(SPEC)
    assert process_of(second) != process_of(first)
    assert server.alive(second, "small")


def test_loading_it_twice_is_one_process_and_other_settings_are_refused(server: LlamaServerEngine):
    first = server.load(SPEC)
    before = llama_folder.presets_file().read_text()
    assert server.load(SPEC).identity == first.identity
    with pytest.raises(ModelFailed, match="other settings"):
        server.load(SPEC.model_copy(update={"context_tokens": 4096}))
    assert llama_folder.presets_file().read_text() == before
    assert server.alive(first, "small")


def test_a_load_past_its_deadline_is_ended(server: LlamaServerEngine, faults: Faults):
    server.unload(server.load(SPEC), "small")  # so that the router is not what takes its time
    faults(stay=True)
    with pytest.raises(ModelFailed, match="in time"):
        server.load(SPEC, deadline_seconds=0.5)
    assert server.residents() == []


def test_what_the_watch_raises_ends_the_load_and_is_passed_on(server: LlamaServerEngine, faults: Faults):
    seen: list[int] = []

    def watch(pids: Any) -> None:
        seen.extend(pids)
        if len(seen) == 3:
            raise DoesNotFit("The load was ended: no room.", remedy="", refusals=[])

    faults(stay=True)
    with pytest.raises(DoesNotFit, match="no room"):
        server.load(SPEC, watch=watch)
    assert len(set(seen)) == 1
    assert server.residents() == []
    assert not psutil.pid_exists(seen[0])


@pytest.mark.parametrize(
    ("said", "layers", "words"),
    [
        ("0.1 I load_tensors: offloaded 20/29 layers to GPU", -1, "only 20 of its 29 layers"),
        ("warning: no usable GPU found, --gpu-layers option will be ignored", -1, "finds no card"),
        ("0.1 I load_tensors: offloaded 10/29 layers to GPU", 20, "only 10 of its 29 layers"),
    ],
)
def test_layers_left_on_the_cpu_count_as_does_not_fit_and_are_unloaded(
    said: str, layers: int, words: str, server: LlamaServerEngine, faults: Faults
):
    faults(said=[said])
    with pytest.raises(DoesNotFit, match=words):
        server.load(SPEC.model_copy(update={"gpu_layers": layers}))
    assert server.residents() == []


@pytest.mark.parametrize(("said", "layers"), [("offloaded 29/29", -1), ("offloaded 20/29", 20), ("no usable GPU", 0)])
def test_a_model_that_is_where_it_was_meant_to_be_is_not_called_spilled(
    said: str, layers: int, server: LlamaServerEngine, faults: Faults
):
    faults(said=[f"0.1 I load_tensors: {said} layers to GPU"])
    loaded = server.load(SPEC.model_copy(update={"gpu_layers": layers}))
    assert (loaded.memory_mib is None) == (layers != 0)


def test_an_unload_that_is_not_obeyed_ends_the_process(
    server: LlamaServerEngine, faults: Faults, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("governor.engines.llama_load.UNLOAD_SECONDS", 0.1)
    loaded = server.load(SPEC)
    faults(deaf=True)
    assert server.unload(loaded, "small")
    assert life(process_of(loaded)) is Life.DEAD


def test_unloading_what_is_gone_leaves_its_successor_alone(server: LlamaServerEngine):
    first = server.load(SPEC)
    assert server.unload(first, "small")
    second = server.load(SPEC)
    assert server.unload(first, "small")
    assert server.alive(second, "small")


def test_the_key_is_not_sent_to_whoever_has_the_port_of_a_model_that_is_gone(server: LlamaServerEngine):
    asked: list[str] = []

    class Anybody(FakeServer):
        def answer(self, exchange: Exchange) -> None:
            asked.append(exchange.path)
            exchange.send_json(200, [{"is_processing": False, "n_ctx": 2048}])

    with Anybody() as anybody:
        loaded = dataclasses.replace(server.load(SPEC), address=anybody.address)
        assert server.quiet(loaded, "small")
        assert server.unload(loaded, "small")
        asked.clear()
        assert server.usage(loaded, "small") is None
        assert server.quiet(loaded, "small") is False
    assert asked == []


def test_a_list_that_says_nothing_of_use_is_no_list_of_models(server: LlamaServerEngine, faults: Faults):
    loaded = server.load(SPEC)
    for data, known in ((None, None), (5, None), ([None, {"id": 7}], [])):
        faults(data=data)
        assert server.residents() == known
        assert not server.alive(loaded, "small")
    faults(told={"parallel": "auto", "ctx-size": "9" * 5000})
    assert [(one.engine_slots, one.context_tokens) for one in server.residents() or []] == [(None, None)]
