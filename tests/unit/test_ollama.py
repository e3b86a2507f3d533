"""The Ollama engine against a fake server that speaks its API, faults included."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from governor import inference
from governor.engines import ollama, seen
from governor.engines.ollama import OllamaEngine
from governor.engines.protocol import Loaded, Running
from governor.errors import DoesNotFit, ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from governor.policy.requests import ModelRequest
from tests.fakes.ollama_process import ollama_process
from tests.fakes.ollama_server import FakeOllama

TAG = "qwen2.5:7b"
SPEC = ModelSpec(
    engine="ollama",
    model=TAG,
    source=TAG,
    line="gpu",
    context_tokens=4096,
    gpu_layers=-1,
    parameters_billion=7.6,
    expected_mib=5300,
)


BLOB = "sha256-" + "a" * 64
# As `/api/show` lists the keys of the header, shortened to what decides the memory.
KEYS = {
    "general.architecture": "qwen2",
    "qwen2.block_count": 28,
    "qwen2.context_length": 32768,
    "qwen2.embedding_length": 3584,
    "qwen2.attention.head_count": 28,
    "qwen2.attention.head_count_kv": 4,
    "tokenizer.ggml.tokens": None,
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOllama]:
    with FakeOllama(TAG, "llama3.2:latest") as fake:
        monkeypatch.setenv("OLLAMA_HOST", fake.address)
        yield fake


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize(
    ("named", "address"),
    [
        ("", "http://127.0.0.1:11434"),
        ("127.0.0.1:4000", "http://127.0.0.1:4000"),
        ("box", "http://box:11434"),
        (":4000", "http://127.0.0.1:4000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("[::]:4000", "http://[::1]:4000"),
        ("http://box", "http://box:80"),
        ("https://box/", "https://box:443"),
        ("box:port", "http://box:11434"),
        ("::1", "http://[::1]:11434"),
        ("[::1", "http://[::1]:11434"),
        ("::", "http://[::1]:11434"),
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(named: str, address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_HOST", named)
    assert ollama.address() == address


def test_tags_are_listed_and_fitted(server: FakeOllama):
    tags = [model.name for model in ollama.on_disk() or []]
    assert tags == [TAG, "llama3.2:latest"]
    assert ollama.fitting_model(tags, TAG) == TAG
    assert ollama.fitting_model(tags, "llama3.2") == "llama3.2:latest"
    assert ollama.fitting_model(tags, "qwen2.5:14b") is None


def test_without_a_server_there_are_no_tags_and_the_reason_is_said(nobody: None):
    assert ollama.on_disk() is None
    assert "no Ollama answers" in (OllamaEngine().health() or "")
    with pytest.raises(NotReady, match="ollama serve"):
        OllamaEngine().load(SPEC)


def test_load_asks_for_the_context_and_says_what_it_took(server: FakeOllama):
    engine = OllamaEngine()
    assert engine.health() is None
    loaded = engine.load(SPEC)
    assert (loaded.address, loaded.identity, loaded.memory_mib) == (server.address, None, 5000)
    assert server.running[TAG]["context_length"] == 4096
    assert engine.alive(loaded, TAG)
    assert engine.quiet(loaded, TAG)


def test_residents_are_its_rows_in_its_own_words(server: FakeOllama):
    engine = OllamaEngine()
    engine.load(SPEC)
    server.gpu_share = 0.5
    engine.load(SPEC.model_copy(update={"source": "llama3.2:latest", "context_tokens": 512, "gpu_layers": 0}))
    assert engine.residents() == [
        Running(TAG, "loaded", context_tokens=4096, size_mib=5000, vram_mib=5000),
        Running("llama3.2:latest", "loaded", context_tokens=512, size_mib=5000, vram_mib=2500),
    ]


def test_a_list_that_is_broken_is_unknown_and_not_empty(server: FakeOllama):
    server.ps_broken = True
    assert OllamaEngine().residents() is None


@pytest.mark.parametrize("size", [True, "5 GB", None, -1, int("9" * 400), [5]])
def test_figures_that_are_none_are_unknown(size: object, server: FakeOllama):
    server.running[TAG] = {"name": TAG, "size": size, "size_vram": size, "context_length": size}
    assert OllamaEngine().residents() == [Running(TAG, "loaded")]


def test_an_address_that_is_none_is_nobodys(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_HOST", "http://[bad")
    assert "no Ollama answers" in (OllamaEngine().health() or "")
    assert OllamaEngine().residents() is None


def test_weights_are_read_from_its_description_of_the_model(server: FakeOllama):
    server.shown[TAG] = {"model_info": KEYS}
    found = OllamaEngine().weights(SPEC)
    assert found is not None
    assert (found.architecture, found.file_mib, found.trained_context) == ("qwen2", 4700, 32768)
    assert found.key_value_width == (1024,) * 28
    assert not server.running


@pytest.mark.parametrize("shown", [{}, {"model_info": {}}, {"model_info": "?"}])
def test_a_description_that_says_nothing_gives_no_weights(shown: dict[str, Any], server: FakeOllama):
    server.shown[TAG] = shown
    assert OllamaEngine().weights(SPEC) is None


def test_its_runner_is_the_child_that_names_the_models_blob(server: FakeOllama, tmp_path: Path):
    server.shown[TAG] = {"modelfile": f"# Modelfile\nFROM /models/blobs/{BLOB}\nTEMPLATE x\n"}
    with ollama_process(tmp_path, BLOB) as (parent, runner):
        assert OllamaEngine().load(SPEC).pids == (runner,)
        with ollama_process(tmp_path, BLOB) as (other, _):
            assert other != parent
            assert OllamaEngine().load(SPEC).pids == ()  # two servers: which of them is it?
    with ollama_process(tmp_path, BLOB.replace("a", "b")):
        assert OllamaEngine().load(SPEC).pids == ()


def test_a_server_on_another_machine_has_no_runner_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with ollama_process(tmp_path, BLOB) as (_, runner):
        assert seen.children_naming("ollama", BLOB, "http://127.0.0.1:11434") == (runner,)
        assert seen.children_naming("ollama", BLOB, "http://192.0.2.1:11434") == ()
        assert seen.children_naming("llama", BLOB, "http://127.0.0.1:11434") == ()


def test_who_listens_is_found_by_its_port(server: FakeOllama):
    assert seen.listeners(server.address) == (os.getpid(),)
    assert seen.listeners("http://192.0.2.1:80") == ()


def test_a_load_that_is_ended_by_its_watcher_is_given_up_by_the_server(server: FakeOllama):
    server.load_seconds = 5.0
    calls: list[tuple[int, ...]] = []

    def watch(pids: Sequence[int]) -> None:
        calls.append(tuple(pids))
        if len(calls) == 3:
            raise DoesNotFit("Memory ran short.", remedy="None.")

    with pytest.raises(DoesNotFit, match="ran short"):
        OllamaEngine().load(SPEC, watch=watch)
    assert len(calls) == 3
    assert not server.running


def test_a_load_that_is_late_is_given_up_too(server: FakeOllama):
    server.load_seconds = 5.0
    with pytest.raises(ModelFailed, match="not load it in time") as caught:
        OllamaEngine().load(SPEC, deadline_seconds=0.3)
    assert caught.value.data["retryable"] is True
    assert not server.running


def test_a_model_that_was_there_stays_when_a_second_load_is_ended(server: FakeOllama):
    engine = OllamaEngine()
    engine.load(SPEC)

    def refuse(_loaded: Loaded) -> None:
        raise OSError("no room on the disk")

    with pytest.raises(OSError, match="no room"):
        engine.load(SPEC, record=refuse)
    assert TAG in server.running


def test_a_model_that_is_not_there_names_the_pull_command(server: FakeOllama):
    server.tags.clear()
    with pytest.raises(NotReady, match=f"ollama pull {TAG}"):
        OllamaEngine().load(SPEC)


def test_a_full_queue_is_worth_asking_again(server: FakeOllama):
    server.queue_full = True
    with pytest.raises(ModelFailed, match="queue is full") as caught:
        OllamaEngine().load(SPEC)
    assert caught.value.data["retryable"] is True


def test_layers_left_on_the_cpu_count_as_does_not_fit_and_are_unloaded(server: FakeOllama):
    server.gpu_share = 0.8
    with pytest.raises(DoesNotFit, match="only 4000 of its 5000 MiB"):
        OllamaEngine().load(SPEC)
    assert not server.running


def test_a_model_meant_for_the_cpu_is_not_called_spilled(server: FakeOllama):
    server.gpu_share = 0.0
    assert OllamaEngine().load(SPEC.model_copy(update={"gpu_layers": 0})).memory_mib == 5000


def test_unload_waits_until_the_model_has_left_the_list(server: FakeOllama):
    engine = OllamaEngine()
    loaded = engine.load(SPEC)
    server.lists_after_unload = 3
    assert engine.unload(loaded, TAG)
    assert not server.running
    assert not engine.alive(loaded, TAG)


def test_a_model_that_never_leaves_the_list_is_not_called_unloaded(server: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama, "UNLOAD_SECONDS", 0.3)
    engine = OllamaEngine()
    loaded = engine.load(SPEC)
    server.lists_after_unload = 1000
    assert not engine.unload(loaded, TAG)
    assert [(row.model, row.state) for row in engine.residents() or []] == [(TAG, "unloading")]


def test_unload_of_what_is_not_in_memory_is_done_at_once(server: FakeOllama):
    engine = OllamaEngine()
    loaded = engine.load(SPEC)
    server.running.clear()
    assert engine.unload(loaded, TAG)
    assert [path for path, _ in server.bodies].count("/api/generate") == 1


def test_unload_under_a_full_queue_is_not_called_done(server: FakeOllama):
    engine = OllamaEngine()
    loaded = engine.load(SPEC)
    server.queue_full = True
    assert not engine.unload(loaded, TAG)
    assert TAG in server.running


def test_a_list_that_cannot_be_had_is_not_an_empty_one(server: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama, "UNLOAD_SECONDS", 0.3)
    engine = OllamaEngine()
    loaded = engine.load(SPEC)
    server.ps_broken = True
    assert not engine.unload(loaded, TAG)


def test_unload_without_a_server_is_done(server: FakeOllama, nobody: None):
    engine = OllamaEngine()
    assert engine.unload(ollama.Loaded(ollama.address(), None, None, None), TAG)


def test_a_call_uses_the_options_of_the_load_so_that_nothing_reloads(server: FakeOllama):
    engine = OllamaEngine()
    loaded = engine.load(SPEC)
    server.reply = json.dumps("no spam")
    request = ModelRequest.model_validate({"kind": "classify", "prompt": "Spam?", "choices": ("spam", "no spam")})
    said = inference.complete(request, engine.litellm_parameters(SPEC, loaded), deadline_seconds=20)
    assert (said.text, said.tokens_in, said.tokens_out) == ("no spam", 12, 3)
    load, chat = (body for path, body in server.bodies if path in ("/api/generate", "/api/chat"))
    assert chat["options"]["num_ctx"] == load["options"]["num_ctx"] == 4096
    assert chat["keep_alive"] == load["keep_alive"]
    assert chat["format"] == {"type": "string", "enum": ["spam", "no spam"]}
    assert set(chat["options"]) == {"num_ctx", "num_predict", "temperature"}


@pytest.mark.parametrize(("line", "options"), [("cpu", {"num_ctx": 4096, "num_gpu": 0}), ("gpu", {"num_ctx": 4096})])
def test_what_belongs_into_the_hosts_memory_is_kept_off_the_card(
    line: str, options: dict[str, int], server: FakeOllama
):
    spec = SPEC.model_copy(update={"line": line, "gpu_layers": 0})
    loaded = OllamaEngine().load(spec)
    assert [body["options"] for path, body in server.bodies if path == "/api/generate"] == [options]
    assert options.items() <= OllamaEngine().litellm_parameters(spec, loaded).items()
