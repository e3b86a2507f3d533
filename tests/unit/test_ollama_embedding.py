"""Embedding models of Ollama against a fake server: they load and answer at another place than all others."""

from collections.abc import Iterator

import pytest

from governor.engines.ollama import OllamaEngine
from governor.errors import ModelFailed
from governor.policy.facts import Kind, ModelSpec
from tests.fakes.ollama_server import FakeOllama

EMBEDDER = ModelSpec(
    engine="ollama",
    model="all-minilm:22m",
    source="all-minilm:22m",
    line="gpu",
    context_tokens=256,
    gpu_layers=-1,
    parameters_billion=0.023,
    expected_mib=120,
    kinds=frozenset({Kind.EMBED}),
)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeOllama]:
    with FakeOllama(EMBEDDER.source) as fake:
        fake.embedders.add(EMBEDDER.source)
        monkeypatch.setenv("OLLAMA_HOST", fake.address)
        yield fake


def test_an_embedding_model_is_loaded_by_a_request_without_a_text(embedder: FakeOllama):
    loaded = OllamaEngine().load(EMBEDDER)
    path, body = next((path, body) for path, body in embedder.bodies if path == "/api/embed")
    assert (path, body["input"], body["options"]) == ("/api/embed", [], {"num_ctx": 256})
    assert OllamaEngine().alive(loaded, EMBEDDER.source)
    assert OllamaEngine().unload(loaded, EMBEDDER.source)
    assert not embedder.running


def test_an_embedding_model_that_the_profile_takes_for_another_is_refused_by_the_server(embedder: FakeOllama):
    with pytest.raises(ModelFailed, match="does not support generate"):
        OllamaEngine().load(EMBEDDER.model_copy(update={"kinds": frozenset()}))


def test_its_calls_go_where_it_embeds_with_the_options_of_the_load_and_cut_nothing(embedder: FakeOllama):
    told = OllamaEngine().litellm_parameters(EMBEDDER, OllamaEngine().load(EMBEDDER))
    assert (told["model"], told["num_ctx"], told["truncate"]) == ("ollama/all-minilm:22m", 256, False)
