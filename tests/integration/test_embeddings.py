"""Vectors from a real child of the embedded engine.

The shipped weights stand in for an embedding model: what they are made for is writing, so their vectors say little;
that there are vectors, and what is refused, is the same for any. The real model is fetched in the long test.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import platformdirs
import pytest

from deployments.embedder_weights import fetch_embedder
from governor.engines import engine
from governor.engines.protocol import Loaded, Usage
from governor.policy.facts import Kind, ModelSpec
from governor.settings import Home

ENGINE = engine("embedded")
# Cosines of these three sentences by the published numbers in full precision: 1st with 2nd, 1st with 3rd.
SENTENCES = ["A man is eating food.", "Someone eats a meal.", "The stock market fell sharply today."]
ALIKE, UNLIKE = 0.7614, 0.0037


def spec_of(source: str, context_tokens: int = 256) -> ModelSpec:
    return ModelSpec(
        engine="embedded",
        model="embedder",
        source=source,
        line="cpu",
        context_tokens=context_tokens,
        parameters_billion=0.1,
        expected_mib=260,
        kinds=frozenset({Kind.EMBED}),
    )


def embedded(loaded: Loaded, texts: list[str]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {loaded.api_key}"}
    body = {"model": "embedder", "input": texts}
    return httpx.post(f"{loaded.address}/v1/embeddings", json=body, headers=headers, timeout=60, trust_env=False)


def vectors(answer: httpx.Response) -> list[list[float]]:
    data: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return [row["embedding"] for row in sorted(data, key=lambda row: row["index"])]


def product(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture
def loaded(weights_home: Home, weights_file: Path) -> Iterator[Loaded]:
    loaded = ENGINE.load(spec_of(weights_file.name))
    yield loaded
    assert ENGINE.unload(loaded, "embedder")


def test_a_model_that_is_loaded_to_embed_gives_one_vector_of_length_one_for_each_text(loaded: Loaded):
    answer = embedded(loaded, SENTENCES)
    found = vectors(answer)
    assert [len(vector) for vector in found] == [576] * 3
    assert [product(vector, vector) for vector in found] == pytest.approx([1.0] * 3, abs=1e-3)
    assert answer.json()["usage"]["prompt_tokens"] > 10
    assert vectors(embedded(loaded, SENTENCES[2:])) == [pytest.approx(found[2], abs=1e-3)]
    assert ENGINE.usage(loaded, "embedder") == Usage(1, 0, 256, filled_tokens=0, deferred=0)
    assert ENGINE.alive(loaded, "embedder") and ENGINE.quiet(loaded, "embedder")


def test_a_text_up_to_the_context_is_read_whole_and_a_longer_one_is_refused(loaded: Loaded):
    assert embedded(loaded, ["word " * 250]).status_code == httpx.codes.OK
    refused = embedded(loaded, ["word " * 300])
    assert refused.is_error
    assert "too large to process" in refused.text


@pytest.mark.long
def test_the_real_embedding_model_says_what_is_alike_as_its_published_numbers_do(hotdesk_home: Home):
    cache = Home(platformdirs.user_cache_path("hotdesk", appauthor=False))
    cache.weights.mkdir(parents=True, exist_ok=True)
    file = fetch_embedder(cache)
    (hotdesk_home.weights / file.name).symlink_to(file)
    loaded = ENGINE.load(spec_of(file.name, context_tokens=512))
    try:
        first, second, third = vectors(embedded(loaded, SENTENCES))
    finally:
        assert ENGINE.unload(loaded, "embedder")
    assert len(first) == 384
    assert product(first, second) == pytest.approx(ALIKE, abs=1e-3)
    assert product(first, third) == pytest.approx(UNLIKE, abs=1e-3)
