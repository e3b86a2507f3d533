"""The llama-swap engine against a fake server that speaks its API, older versions included."""

import os
from collections.abc import Iterator

import pytest

from governor.engines.llama_swap import LlamaSwapEngine, address
from governor.engines.protocol import Loaded, Running, Usage
from governor.errors import ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from tests.fakes.llama_swap_server import FakeLlamaSwap
from tests.fakes.ollama_server import FakeOllama

SPEC = ModelSpec(
    engine="llama_swap",
    model="qwen",
    source="qwen",
    line="gpu",
    context_tokens=4096,
    gpu_layers=-1,
    parameters_billion=7.6,
    expected_mib=5300,
)
ENGINE = LlamaSwapEngine()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLlamaSwap]:
    with FakeLlamaSwap(qwen=4096, llama=8192) as fake:
        monkeypatch.setenv("LLAMA_SWAP_URL", fake.address + "/")
        yield fake


def test_its_default_address_is_its_own_default_port(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LLAMA_SWAP_URL", raising=False)
    assert address() == "http://127.0.0.1:8080"


def test_another_server_on_its_port_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch):
    with FakeOllama() as other:
        monkeypatch.setenv("LLAMA_SWAP_URL", other.address)
        assert "no llama-swap answers" in (ENGINE.health() or "")  # that one breaks off
        assert ENGINE.residents() is None


def test_a_server_without_a_list_of_running_models_is_another_one(
    server: FakeLlamaSwap, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LLAMA_SWAP_URL", server.address + "/elsewhere")
    assert "is not llama-swap" in (ENGINE.health() or "")


def test_a_load_starts_the_process_and_tells_who_holds_the_memory(server: FakeLlamaSwap):
    loaded = ENGINE.load(SPEC)
    assert server.states == {"qwen": "ready"}
    assert loaded.pids == (os.getpid(),)  # the fake's processes are threads of this one
    assert ENGINE.residents() == [Running("qwen", "loaded", (os.getpid(),), 4096, 1)]


def test_usage_and_quiet_are_asked_of_the_process_and_never_start_it(server: FakeLlamaSwap):
    loaded = ENGINE.load(SPEC)
    server.processes["qwen"].working = True
    assert ENGINE.usage(loaded, "qwen") == Usage(1, 1, 4096)
    assert not ENGINE.quiet(loaded, "qwen")
    assert ENGINE.usage(loaded, "llama") is None
    assert ENGINE.quiet(loaded, "llama")
    assert set(server.states) == {"qwen"}


def test_a_process_that_knows_no_health_is_ready_when_the_proxy_says_so(server: FakeLlamaSwap):
    server.has_health = False
    assert ENGINE.alive(ENGINE.load(SPEC), "qwen")


def test_a_model_that_is_not_configured_says_where_to_add_it(server: FakeLlamaSwap):
    with pytest.raises(NotReady, match="configuration"):
        ENGINE.load(SPEC.model_copy(update={"source": "mistral"}))


def test_a_process_that_ends_while_it_starts_is_a_failed_model(server: FakeLlamaSwap):
    server.breaks_off = True
    with pytest.raises(ModelFailed, match="exited prematurely"):
        ENGINE.load(SPEC)
    assert not server.states


def test_an_old_version_unloads_the_only_model_by_unloading_all(server: FakeLlamaSwap):
    server.old = True
    loaded = ENGINE.load(SPEC)
    assert ENGINE.unload(loaded, "qwen")
    assert not server.states


def test_an_old_version_is_not_told_to_unload_all_while_another_model_runs(server: FakeLlamaSwap):
    server.old = True
    loaded = ENGINE.load(SPEC)
    ENGINE.load(SPEC.model_copy(update={"source": "llama"}))
    assert not ENGINE.unload(loaded, "qwen")
    assert set(server.states) == {"qwen", "llama"}


def test_states_are_told_in_our_words(server: FakeLlamaSwap):
    ENGINE.load(SPEC)
    for theirs, ours in (("starting", "loading"), ("stopping", "unloading"), ("shutdown", "unloading")):
        server.states["qwen"] = theirs
        server.lists_after_unload = 10
        assert [(row.state, row.context_tokens) for row in ENGINE.residents() or []] == [(ours, None)]


def test_labels_come_by_schema_because_any_server_may_stand_behind_it():
    parameters = ENGINE.litellm_parameters(SPEC, Loaded("http://127.0.0.1:1", None, None, None))
    assert parameters == {"model": "openai/qwen", "api_base": "http://127.0.0.1:1/v1", "api_key": "none"}
