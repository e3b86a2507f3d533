"""The Ollama engine against a fake server that speaks its API, faults included."""

import json
import socket
from collections.abc import Iterator

import pytest

from governor import inference
from governor.engines import ollama
from governor.engines.ollama import OllamaEngine
from governor.errors import DoesNotFit, ModelFailed, NotReady
from governor.policy.facts import ModelRequest, ModelSpec
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


def unknown() -> float | None:
    return None


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
    ],
)
def test_ollama_host_is_read_as_ollama_reads_it(named: str, address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OLLAMA_HOST", named)
    assert ollama.address() == address


def test_tags_are_listed_and_fitted(server: FakeOllama):
    tags = ollama.available_tags() or []
    assert tags == [TAG, "llama3.2:latest"]
    assert ollama.fitting_model(tags, TAG) == TAG
    assert ollama.fitting_model(tags, "llama3.2") == "llama3.2:latest"
    assert ollama.fitting_model(tags, "qwen2.5:14b") is None


def test_without_a_server_there_are_no_tags_and_the_reason_is_said(nobody: None):
    assert ollama.available_tags() is None
    assert "no Ollama answers" in (OllamaEngine().health() or "")
    with pytest.raises(NotReady, match="ollama serve"):
        OllamaEngine(unknown).load(SPEC)


def test_load_asks_for_the_context_and_says_what_it_took(server: FakeOllama):
    engine = OllamaEngine(unknown)
    assert engine.health() is None
    loaded = engine.load(SPEC)
    assert (loaded.address, loaded.identity, loaded.memory_mib) == (server.address, None, 5000)
    assert server.running[TAG]["context_length"] == 4096
    assert engine.alive(loaded, TAG)
    assert engine.quiet(loaded, TAG)


def test_a_model_that_is_not_there_names_the_pull_command(server: FakeOllama):
    server.tags.clear()
    with pytest.raises(NotReady, match=f"ollama pull {TAG}"):
        OllamaEngine(unknown).load(SPEC)


def test_a_full_queue_is_worth_asking_again(server: FakeOllama):
    server.queue_full = True
    with pytest.raises(ModelFailed, match="queue is full") as caught:
        OllamaEngine(unknown).load(SPEC)
    assert caught.value.data["retryable"] is True


def test_layers_left_on_the_cpu_count_as_does_not_fit_and_are_unloaded(server: FakeOllama):
    server.gpu_share = 0.8
    with pytest.raises(DoesNotFit, match="only 4000 of its 5000 MiB"):
        OllamaEngine(unknown).load(SPEC)
    assert not server.running


def test_a_model_meant_for_the_cpu_is_not_called_spilled(server: FakeOllama):
    server.gpu_share = 0.0
    assert OllamaEngine(unknown).load(SPEC.model_copy(update={"gpu_layers": 0})).memory_mib == 5000


def test_unload_waits_until_the_model_has_left_the_list(server: FakeOllama):
    engine = OllamaEngine(unknown)
    loaded = engine.load(SPEC)
    server.lists_after_unload = 3
    assert engine.unload(loaded, TAG)
    assert not server.running
    assert not engine.alive(loaded, TAG)


def test_unload_waits_until_the_driver_has_the_memory_back(server: FakeOllama):
    readings = iter([500.0, 500.0, 3000.0, 5400.0])
    engine = OllamaEngine(lambda: next(readings))
    assert engine.unload(engine.load(SPEC), TAG)
    assert next(readings, None) is None


def test_memory_that_does_not_come_back_is_not_called_back(server: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama, "MEMORY_BACK_SECONDS", 0.3)
    engine = OllamaEngine(lambda: 500.0)
    assert not engine.unload(engine.load(SPEC), TAG)


def test_unload_of_what_is_not_in_memory_is_done_at_once(server: FakeOllama):
    engine = OllamaEngine(unknown)
    loaded = engine.load(SPEC)
    server.running.clear()
    assert engine.unload(loaded, TAG)
    assert [path for path, _ in server.bodies].count("/api/generate") == 1


def test_unload_under_a_full_queue_is_not_called_done(server: FakeOllama):
    engine = OllamaEngine(unknown)
    loaded = engine.load(SPEC)
    server.queue_full = True
    assert not engine.unload(loaded, TAG)
    assert TAG in server.running


def test_a_list_that_cannot_be_had_is_not_an_empty_one(server: FakeOllama, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ollama, "UNLOAD_SECONDS", 0.3)
    engine = OllamaEngine(unknown)
    loaded = engine.load(SPEC)
    server.ps_broken = True
    assert not engine.unload(loaded, TAG)


def test_unload_without_a_server_is_done(server: FakeOllama, nobody: None):
    engine = OllamaEngine(unknown)
    assert engine.unload(ollama.Loaded(ollama.address(), None, None, None), TAG)


def test_a_call_uses_the_options_of_the_load_so_that_nothing_reloads(server: FakeOllama):
    engine = OllamaEngine(unknown)
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
