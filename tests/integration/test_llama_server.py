"""The engine llama_server with a real llama-server and the real weights, on the CPU."""

import contextlib
import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from governor import inference
from governor.engines import llama_folder, llama_presets, llama_router
from governor.engines.llama_server import LlamaServerEngine
from governor.engines.protocol import Loaded, Watch
from governor.errors import BadInput, DoesNotFit, ModelFailed
from governor.policy.facts import ModelSpec
from governor.policy.requests import ModelRequest
from governor.processes import Identity, Life, identify, life
from governor.settings import Home
from tests.integration.engine_contract import EngineContract
from tests.integration.engine_stage import Stage, eventually
from tests.integration.llama_stage import needs_llama_server, process_of, router, small_model

pytestmark = needs_llama_server

INVOICE = {
    "type": "object",
    "properties": {"vendor": {"type": "string", "maxLength": 20}, "paid": {"type": "boolean"}},
    "required": ["vendor", "paid"],
    "additionalProperties": False,
}
Ask = Callable[..., inference.Completion]


class LlamaServerStage(Stage):
    """A real llama-server on the CPU and two models of the same weights."""

    def __init__(self, spec: ModelSpec, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.engine = LlamaServerEngine()
        self.spec = spec.model_copy(update={"engine_slots": 2, "cache_type": "q8_0"})
        self.second = spec.model_copy(update={"model": "second"})

    def processes(self) -> set[int]:
        found = llama_router.found()
        return {one.pid for one in llama_router.ours() if found is None or one != found.identity}

    def missing(self) -> ModelSpec:
        return self.spec.model_copy(update={"model": "not-there", "source": "not-there.gguf"})

    def absent(self) -> None:
        llama_router.end_all()
        self._patch.setenv(llama_router.NAMED_BY, "no-such-program")

    def slow_unload(self) -> None:
        """It always is: the answer comes after 2 ms, the end of the process after 20."""

    def spills(self) -> None:
        self._patch.setenv("CUDA_VISIBLE_DEVICES", "")
        self.spec = self.spec.model_copy(update={"gpu_layers": -1})

    def dies_mid_load(self) -> Watch:
        def kill(pids: Sequence[int]) -> None:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        return kill


class TestLlamaServer(EngineContract):
    @pytest.fixture
    def stage(self, server: LlamaServerEngine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Stage:
        return LlamaServerStage(spec, monkeypatch)


@pytest.fixture
def spec(weights_file: Path) -> ModelSpec:
    return small_model(weights_file)


@pytest.fixture
def server(weights_home: Home) -> Iterator[LlamaServerEngine]:
    server = LlamaServerEngine()
    yield server
    server.close()
    assert llama_router.ours() == []


@pytest.fixture
def loaded(server: LlamaServerEngine, spec: ModelSpec) -> Loaded:
    return server.load(spec)


@pytest.fixture
def ask(server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec) -> Ask:
    inference.warm_up()

    def ask(*, deadline_seconds: float = 60.0, **fields: Any) -> inference.Completion:
        request = ModelRequest.model_validate({"kind": "write", **fields})
        return inference.complete(request, server.litellm_parameters(spec, loaded), deadline_seconds=deadline_seconds)

    return ask


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except ModelFailed as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, errors


def test_a_loaded_model_is_alive_quiet_and_says_what_it_has(server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec):
    assert server.health() is None
    assert server.alive(loaded, spec.model)
    assert server.quiet(loaded, spec.model)
    usage = server.usage(loaded, spec.model)
    assert usage is not None
    assert dataclasses.astuple(usage) == (1, 0, 1024, 0, 0)  # nothing at work fills it, nobody waits
    assert 100 < (loaded.memory_mib or 0) < 400
    (running,) = server.residents() or []
    assert (running.model, running.state, running.pids) == (spec.model, "loaded", loaded.pids)
    assert (running.context_tokens, running.engine_slots) == (1024, 1)


def test_two_engine_slots_have_a_whole_context_each(server: LlamaServerEngine, spec: ModelSpec):
    loaded = server.load(spec.model_copy(update={"engine_slots": 2, "cache_type": "q8_0"}))
    usage = server.usage(loaded, spec.model)
    assert usage is not None
    assert (usage.engine_slots, usage.context_tokens) == (2, 1024)


def test_choices_give_exactly_one_label(ask: Ask):
    labels = ("positive", 'a "mixed" one', "negative")
    said = ask(prompt='Review: "I hate this." Sentiment:', choices=labels, max_tokens=1)
    assert said.text in labels


def test_a_schema_gives_an_object_of_that_shape(ask: Ask):
    said = ask(prompt="Invoice of ACME, paid. Extract vendor and paid.", json_schema=INVOICE, max_tokens=80)
    assert set(json.loads(said.text)) == {"vendor", "paid"}


def test_a_prompt_longer_than_the_context_is_bad_input(ask: Ask):
    with pytest.raises(BadInput, match="longer than the model's context"):
        ask(prompt="word " * 3000, max_tokens=8)


def test_a_call_past_its_deadline_frees_the_engine_slot(ask: Ask, server: LlamaServerEngine, loaded: Loaded):
    with pytest.raises(ModelFailed, match="no full answer within"):
        ask(prompt="Count from one to one thousand in words.", choices=("x" * 700,), deadline_seconds=0.5)
    assert eventually(lambda: server.quiet(loaded, "smollm2-135m"), 2.0)


def test_unloading_ends_a_model_in_the_middle_of_a_generation(
    ask: Ask, server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec
):
    thread, errors = in_thread(lambda: ask(prompt="Tell a story.", choices=("x" * 700,)))
    assert eventually(lambda: not server.quiet(loaded, spec.model), 10.0)
    started = time.monotonic()
    assert server.unload(loaded, spec.model)
    assert time.monotonic() - started < 2.0
    assert life(process_of(loaded)) is Life.DEAD
    assert server.residents() == []
    thread.join(20)
    assert len(errors) == 1


def test_a_model_killed_in_the_middle_of_a_generation_is_noticed_and_loaded_again(
    ask: Ask, server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec
):
    thread, errors = in_thread(lambda: ask(prompt="Tell a story.", choices=("x" * 700,)))
    assert eventually(lambda: not server.quiet(loaded, spec.model), 10.0)
    psutil.Process(process_of(loaded).pid).kill()
    thread.join(20)
    assert len(errors) == 1
    assert not server.alive(loaded, spec.model)
    before = router()
    again = server.load(spec)
    assert process_of(again) != process_of(loaded)
    assert server.alive(again, spec.model)
    assert router() == before


def test_a_running_model_keeps_its_section_and_another_context_needs_an_unload(
    server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec
):
    before = llama_folder.presets_file().read_text()
    small = spec.model_copy(update={"context_tokens": 512})
    with pytest.raises(ModelFailed, match="other settings"):
        server.load(small)
    assert llama_folder.presets_file().read_text() == before
    server.load(spec.model_copy(update={"model": "other"}))
    assert llama_folder.presets_file().read_text().startswith(before)
    assert server.alive(loaded, spec.model)  # the reload for the other one left it alone
    assert server.unload(loaded, spec.model)
    usage = server.usage(server.load(small), spec.model)
    assert usage is not None
    assert usage.context_tokens == 512


def test_asking_about_a_model_that_is_not_loaded_loads_nothing(
    server: LlamaServerEngine, loaded: Loaded, spec: ModelSpec
):
    assert server.unload(loaded, spec.model)
    assert server.usage(loaded, spec.model) is None
    assert not server.quiet(loaded, spec.model)
    assert server.residents() == []
    chat = {"model": spec.model, "messages": [{"role": "user", "content": "Hi"}]}
    key = {"Authorization": f"Bearer {loaded.api_key}"}

    def status() -> int:
        return httpx.post(router().address + "/v1/chat/completions", json=chat, headers=key).status_code

    assert eventually(lambda: status() == 400, 2.0)  # 500 until its list has noticed the end
    assert server.residents() == []


@pytest.mark.parametrize("kept", [20_000_000, 100_000, 10])
def test_weights_cut_short_are_bad_input(
    kept: int, server: LlamaServerEngine, weights_home: Home, spec: ModelSpec, weights_file: Path
):
    short = weights_home.weights / spec.source
    short.unlink()
    with weights_file.open("rb") as whole:
        short.write_bytes(whole.read(kept))
    with pytest.raises(BadInput, match=r"corrupt.*hotdesk fetch"):
        server.load(spec)
    assert server.residents() == []


def test_without_a_card_a_model_meant_for_one_does_not_fit(
    server: LlamaServerEngine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(DoesNotFit, match="card"):
        server.load(spec.model_copy(update={"gpu_layers": -1}))
    assert server.residents() == []


def test_more_memory_than_there_is_does_not_fit(
    server: LlamaServerEngine, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    narrow = tmp_path / "llama-server"
    narrow.write_text(f'#!/bin/sh\nulimit -v 1000000\nexec "{llama_router.binary()}" "$@"\n')
    narrow.chmod(0o755)
    monkeypatch.setenv(llama_router.NAMED_BY, str(narrow))
    with pytest.raises(DoesNotFit, match="allocate"):
        server.load(spec.model_copy(update={"context_tokens": 8192, "engine_slots": 8}))
    assert server.residents() == []


def test_a_load_past_its_deadline_leaves_nothing(server: LlamaServerEngine, spec: ModelSpec):
    server.load(spec.model_copy(update={"model": "other"}))  # so that the router is not what takes its time
    with pytest.raises(ModelFailed, match="in time"):
        server.load(spec, deadline_seconds=0.05)
    assert [one.model for one in server.residents() or []] == ["other"]


def test_what_the_watch_raises_ends_the_load(server: LlamaServerEngine, spec: ModelSpec):
    seen: list[Identity] = []

    def watch(pids: Any) -> None:
        seen.extend(identify(pid) for pid in pids)
        if seen:
            raise DoesNotFit("The load was ended: no room.", remedy="", refusals=[])

    with pytest.raises(DoesNotFit, match="no room"):
        server.load(spec, watch=watch)
    assert [life(child) for child in seen] == [Life.DEAD]
    assert server.residents() == []


def test_what_is_told_is_what_the_router_repeats(loaded: Loaded, spec: ModelSpec):
    (entry,) = router().wire.get("/models")["data"]
    assert llama_presets.same(llama_presets.section(spec), entry)
