"""The files that name models and profiles: read strictly, and what they say is plausible."""

from pathlib import Path

import pytest

from deployments.embedder_weights import MINILM
from deployments.weights import SMOLLM2
from governor.errors import BadInput
from governor.model_catalogue import (
    MODELS_FILE,
    ON_GPU_LINE,
    PROFILES_FILE,
    TIERS,
    Model,
    catalogue,
    nearest,
    read_catalogue,
)
from governor.policy.facts import Kind, Weights
from governor.policy.footprint import estimate_mib
from governor.settings import MIB

MODELS = list(catalogue().models.values())
# Layers, values of keys and values in each, width, feed_forward, vocabulary, MiB of the embedding (Q4_K) where the
# output has a tensor of its own: as `/api/show` and the models' config.json have them.
SHAPES = {
    "qwen2.5:0.5b": (24, 256, 896, 4864, 151_936, 0),
    "qwen2.5:1.5b": (28, 512, 1536, 8960, 151_936, 0),
    "qwen2.5:7b": (28, 1024, 3584, 18_944, 152_064, 292),
    "qwen2.5:14b": (48, 2048, 5120, 13_824, 152_064, 418),
    "qwen2.5:32b": (64, 2048, 5120, 27_648, 152_064, 418),
    "llama3.2:1b": (16, 1024, 2048, 8192, 128_256, 0),
    "llama3.2:3b": (28, 2048, 3072, 8192, 128_256, 0),
    "llama3.3:70b": (80, 2048, 8192, 28_672, 128_256, 563),
}


def by_header(model: Model, context_tokens: int, card_mib: float | None) -> float:
    """What `policy.footprint` would say, had it the header of the weights."""
    layers, width, between, inside, vocabulary, embedding = SHAPES[model.name.replace("-coder", "")]
    weights = Weights(
        architecture="x",
        file_mib=model.size_bytes / MIB,
        embedding_mib=embedding,
        key_value_width=(width,) * layers,
        window_tokens=(0,) * layers,
        vocabulary=vocabulary,
        trained_context=model.trained_tokens,
        width=between,
        feed_forward=inside,
    )
    return estimate_mib(weights, context_tokens=context_tokens, cache_type="f16", engine_slots=1, card_mib=card_mib)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_what_a_token_of_context_takes_follows_from_the_models_shape(name: str):
    layers, width, *_ = SHAPES[name]
    assert catalogue().models[name].kv_bytes == layers * width * 2


EXPECTED = [
    (profile, tier, choice.model)
    for profile, written in catalogue().profiles.items()
    for tier in TIERS[:3]
    for choice in written.choices(tier)
]


@pytest.mark.parametrize(("profile", "tier", "name"), EXPECTED)
def test_the_guess_at_a_models_memory_is_not_below_what_its_header_would_say_and_not_far_above(
    profile: str, tier: str, name: str
):
    """Below, it would be let in where it does not fit; far above, it would be refused where it does."""
    written, model = catalogue().profiles[profile], catalogue().models[name]
    choice = next(choice for choice in written.choices(tier) if choice.model == name)
    on_card = tier in ON_GPU_LINE and written.needs.vram_mib > 0
    guess = choice.expected_mib or model.expected_mib(choice.context_tokens, engine_slots=1, on_card=on_card)
    exact = by_header(model, choice.context_tokens, written.needs.vram_mib if on_card else None)
    assert exact - 20 <= guess <= 1.12 * exact + 350


def test_every_model_has_a_licence_a_size_and_one_hash_of_its_own():
    assert all(model.licence in ("Apache-2.0", "MIT") or model.licence.startswith("LicenseRef-") for model in MODELS)
    hashes = [model.sha256 for model in MODELS if model.sha256]
    assert len(hashes) == len(set(hashes)) == len(MODELS)
    assert {model.name for model in MODELS if model.kinds == {Kind.EMBED}} >= {"nomic-embed-text", "all-minilm"}
    # Not free for commercial use.
    assert not {"qwen2.5:3b", "qwen2.5-coder:3b"} & catalogue().models.keys()


def test_what_wheels_carry_is_found_under_the_name_under_which_it_is_fetched():
    assert catalogue().models["all-minilm"].file == MINILM.file_name
    shipped = catalogue().models[catalogue().embedded.model]
    assert (shipped.file, shipped.size_bytes, shipped.sha256) == (
        SMOLLM2.file_name,
        SMOLLM2.file_bytes,
        SMOLLM2.file_sha256,
    )


@pytest.mark.parametrize(
    ("file", "wrong", "right", "said"),
    [
        ("profiles", "bugdet_mib: 5700", "budget_mib: 5700", "6gb.bugdet_mib: unknown key. Did you mean budget_mib"),
        ("profiles", "needs: {vram: 5500}", "needs: {vram_mib: 5500}", "unknown key. Did you mean vram_mib"),
        ("profiles", "tyny: [{", "tiny: [{", "unknown key. Did you mean tiny"),
        ("profiles", '{model: "qwen2.5:8b"', '{model: "qwen2.5:7b"', "no model 'qwen2.5:8b'. Did you mean qwen2.5:7b"),
        ("profiles", "- {model: all-minilm", '- {model: "llama3.2:3b"', "all-minilm is not for this tier"),
        ("profiles", "all-minilm, context_tokens: 513", "all-minilm, context_tokens: 512", "a context of 512 at most"),
        ("profiles", "worker_limit: 0", "worker_limit: 24", "worker_limit: Input should be greater than"),
        ("profiles", "  model: x\n", "  model: smollm2-135m\n", "embedded: there is no model 'x'"),
        ("profiles", "- just\n- a list\n#", None, "it is no mapping"),
        ("profiles", "profiles: {", None, "while parsing"),
        ("models", "licence: ''", "licence: MIT", "models.bge-m3.licence"),
        ("models", "sha256: 5396e06", "sha256: c5396e06", "models.qwen2.5:0.5b.sha256"),
        ("models", "licens: MIT", "licence: MIT", "models.bge-m3.licens: unknown key. Did you mean licence"),
        ("models", "as_off: 2026-11-25", "as_of: 2026-11-25", "as_off: unknown key. Did you mean as_of"),
        ("models", "kinds: [embedding]", "kinds: [embed]", "models.nomic-embed-text.kinds"),
        ("models", "models: no\n#", None, "as_of: Field required"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(file: str, wrong: str, right: str | None, said: str, tmp_path: Path):
    paths = {"models": MODELS_FILE, "profiles": PROFILES_FILE}
    text = paths[file].read_text()
    assert right is None or right in text
    broken = tmp_path / f"{file}.yaml"
    broken.write_text(wrong if right is None else text.replace(right, wrong, 1))
    with pytest.raises(BadInput) as caught:
        read_catalogue(**(paths | {file: broken}))
    assert said in caught.value.happened
    assert f"{file}.yaml" in caught.value.happened


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(BadInput, match=r"models\.yaml"):
        read_catalogue(models=tmp_path / "models.yaml")


def test_the_nearest_names_come_first_and_all_of_them_when_none_is_near():
    assert nearest("qwen2.5:7", ["qwen2.5:7b", "bge-m3"]) == "Did you mean qwen2.5:7b?"
    assert nearest("zzz", ["a", "b"]) == "Use one of: a, b."
