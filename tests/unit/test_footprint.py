"""What a model will take: estimated within 150 MiB before it was ever loaded, learned afterwards."""

import statistics

import pytest

from governor.policy.facts import Weights
from governor.policy.footprint import Measured, add, corrected, estimate_mib, expected, ladder

GIB, MIB = 1024.0, 1024 * 1024
# A 7B-shaped Llama of random Q4_K weights: 32 layers, 8 of 32 heads of 128 keep the context, 32,000 tokens.
SEVEN_B = Weights(
    architecture="llama",
    file_mib=4.08e9 / MIB,
    embedding_mib=32_000 * 4096 / 256 * 144 / MIB,
    key_value_width=(2 * 8 * 128,) * 32,
    window_tokens=(0,) * 32,
    vocabulary=32_000,
    trained_context=32_768,
    width=4096,
    feed_forward=14_336,
)


def _card(on_card_mib: float, layers: int, width: int, feed_forward: int, kept: int) -> Weights:
    return Weights(
        architecture="llama",
        file_mib=on_card_mib,
        embedding_mib=0,
        key_value_width=(kept,) * layers,
        window_tokens=(0,) * layers,
        vocabulary=128_000,
        trained_context=32_768,
        width=width,
        feed_forward=feed_forward,
    )


def _small(file_mib: float, layers: int, width: int, vocabulary: int) -> Weights:
    return Weights(
        architecture="llama",
        file_mib=file_mib,
        embedding_mib=17.0,
        key_value_width=(width,) * layers,
        window_tokens=(0,) * layers,
        vocabulary=vocabulary,
        trained_context=32_768,
    )


# GiB that llama-server held by NVML on an H200, one engine slot, flash attention, after its first use.
@pytest.mark.parametrize(
    ("context_tokens", "cache_type", "measured_gib"),
    [
        (2048, "f16", 4.68),
        (4096, "f16", 4.93),
        (8192, "f16", 5.43),
        (16_384, "f16", 6.44),
        (32_768, "f16", 8.45),
        (2048, "q8_0", 4.56),
        (4096, "q8_0", 4.69),
        (8192, "q8_0", 4.96),
        (16_384, "q8_0", 5.50),
        (32_768, "q8_0", 6.63),
    ],
)
def test_a_first_estimate_on_a_card_is_within_150_mib(
    context_tokens: int, cache_type: str, measured_gib: float
) -> None:
    mib = estimate_mib(SEVEN_B, context_tokens=context_tokens, cache_type=cache_type, engine_slots=1, card_mib=80_000)
    assert abs(mib - measured_gib * GIB) <= 150


# MiB by NVML on an H100 after the first use, llama-server b11434, context 2048.
@pytest.mark.parametrize(
    ("weights", "measured_mib"),
    [
        (_card(3815.3, 32, 4096, 14_336, 2048), 4781.3),
        (_card(1457.4, 26, 3072, 8192, 2048), 2331.4),
        (_card(555.3, 22, 2048, 5632, 512), 1241.4),
        (_card(215.6, 24, 1024, 2816, 512), 879.4),
    ],
)
def test_large_and_small_models_on_a_card_are_estimated_alike(weights: Weights, measured_mib: float) -> None:
    mib = estimate_mib(weights, context_tokens=2048, cache_type="f16", engine_slots=1, card_mib=80_000)
    assert abs(mib - measured_mib) <= 10


# MiB resident of an embedded child after a long prompt; the first is SmolLM2-135M, the others are of random weights.
@pytest.mark.parametrize(
    ("weights", "by_context"),
    [
        (_small(93.8, 30, 384, 49_152), {512: 163, 2048: 208, 8192: 345}),
        (_small(108.4, 12, 512, 32_000), {512: 157, 2048: 187, 8192: 270}),
        (_small(458.0, 16, 1024, 32_000), {512: 521, 2048: 593, 8192: 804}),
        (_small(192.0, 8, 512, 128_000), {512: 255, 2048: 280, 8192: 339}),
    ],
)
def test_a_first_estimate_of_a_process_on_the_cpu_is_within_50_mib(
    weights: Weights, by_context: dict[int, float]
) -> None:
    for context, mib in by_context.items():
        estimate = estimate_mib(weights, context_tokens=context, cache_type="f16", engine_slots=1, card_mib=None)
        assert abs(estimate - mib) <= 50, context


def test_every_engine_slot_has_a_context_of_its_own() -> None:
    one, four = (
        estimate_mib(SEVEN_B, context_tokens=4096, cache_type="f16", engine_slots=slots, card_mib=80_000)
        for slots in (1, 4)
    )
    assert four - one == pytest.approx(3 * (512 + 4))  # cache and mask of 4096 tokens each


def test_a_window_bounds_what_a_layer_keeps() -> None:
    """gemma2-like: every second layer keeps 4096 tokens and one piece of a prompt, however long the context."""
    windowed = SEVEN_B.model_copy(update={"window_tokens": (4096, 0) * 16})
    whole, bounded = (
        estimate_mib(weights, context_tokens=16_384, cache_type="f16", engine_slots=1, card_mib=80_000)
        for weights in (SEVEN_B, windowed)
    )
    assert whole - bounded == pytest.approx(16 * (16_384 - 4608) * 2048 * 2 / MIB)
    short = {"context_tokens": 2048, "cache_type": "f16", "engine_slots": 1, "card_mib": 80_000}
    assert estimate_mib(windowed, **short) == estimate_mib(SEVEN_B, **short)


def test_an_unknown_vocabulary_or_cache_type_errs_upwards() -> None:
    known = {"context_tokens": 2048, "engine_slots": 1, "card_mib": 80_000}
    silent = SEVEN_B.model_copy(update={"vocabulary": 0, "width": 0})
    assert estimate_mib(silent, cache_type="f16", **known) > estimate_mib(SEVEN_B, cache_type="f16", **known)
    assert estimate_mib(SEVEN_B, cache_type="new", **known) == estimate_mib(SEVEN_B, cache_type="f16", **known)


def test_the_mean_and_the_spread_are_those_of_all_measurements() -> None:
    seen = [4700.0, 4710.0, 4690.0, 4760.0, 4700.0]
    measured = None
    for mib in seen:
        measured = add(measured, mib, seconds=mib / 1000)
    assert measured is not None
    assert measured.loads == 5 and measured.highest_mib == 4760.0
    assert measured.mean_mib == pytest.approx(statistics.mean(seen))
    assert measured.squares / 4 == pytest.approx(statistics.variance(seen))
    assert measured.load_seconds == pytest.approx(statistics.mean(seen) / 1000)


def test_what_was_measured_counts_before_the_header_and_the_header_before_the_profile() -> None:
    measured = add(None, 4700.0, 1.5)
    learned = expected(measured, 4600.0, 5000.0)
    assert (learned.source, learned.mib, learned.load_seconds) == ("learned", 4700.0, 1.5)
    header = expected(None, 4600.0, 5000.0)
    assert (header.source, header.mib, header.spread_mib, header.load_seconds) == ("header", 4600.0, 150.0, None)
    profile = expected(None, None, 5000.0)
    assert (profile.source, profile.mib, profile.spread_mib) == ("profile", 5000.0, 150.0)


def test_the_next_load_may_be_as_large_as_the_largest_before() -> None:
    steady = expected(Measured(loads=9, mean_mib=900.0, squares=0.0, highest_mib=900.0, load_seconds=1.0), None, 1.0)
    assert steady.spread_mib == 16.0
    once_more = Measured(loads=9, mean_mib=900.0, squares=0.0, highest_mib=1000.0, load_seconds=1.0)
    assert expected(once_more, None, 1.0).spread_mib == 100.0
    restless = Measured(loads=5, mean_mib=900.0, squares=4 * 30.0**2, highest_mib=930.0, load_seconds=1.0)
    assert expected(restless, None, 1.0).spread_mib == 60.0


def test_an_estimate_learns_from_the_most_similar_configuration() -> None:
    at_2048, at_16384 = (add(None, mib, 1.0) for mib in (4700.0, 6700.0))
    others = [(at_2048, 4720.0), (at_16384, 6600.0)]
    assert corrected(4850.0, others) == 4830.0
    assert corrected(6500.0, others) == 6600.0
    assert corrected(4850.0, []) == 4850.0
    assert corrected(10.0, [(at_2048, 5000.0)]) == 0.0


@pytest.mark.parametrize(
    ("wanted", "least", "cache_types", "tried"),
    [
        (4096, 0, ("f16", "q8_0"), ((4096, "f16"), (4096, "q8_0"))),
        (8192, 4096, ("f16", "q8_0"), ((8192, "f16"), (4096, "f16"), (8192, "q8_0"), (4096, "q8_0"))),
        (16_384, 1000, ("f16",), ((16_384, "f16"), (8192, "f16"), (4096, "f16"), (2048, "f16"))),
        (4096, 2048, (), ((4096, "f16"), (2048, "f16"))),
        (4096, 8192, ("f16",), ((4096, "f16"),)),
        (4096, 3000, ("q8_0", "f16"), ((4096, "q8_0"),)),
        (2048, 512, ("f16",), ((2048, "f16"),)),
    ],
)
def test_smaller_contexts_are_tried_down_to_what_the_work_needs_then_a_smaller_cache(
    wanted: int, least: int, cache_types: tuple[str, ...], tried: tuple[tuple[int, str], ...]
) -> None:
    assert ladder(wanted, least, cache_types) == tried
