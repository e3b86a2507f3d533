"""How much memory a model will take: from its header before the first load, from measurements afterwards. Pure.

Also the ladder of smaller contexts that are tried before giving a model up.
"""

import math
from collections.abc import Iterator, Sequence

from governor.policy.facts import Fact, Footprint, Weights

MIB = 1024 * 1024
# Bytes that a cached value takes, by how the cache is kept (ggml's block sizes: q8_0 is 34 bytes for 32 values).
CACHE_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 1.0625, "q5_1": 0.75, "q5_0": 0.6875, "q4_1": 0.625}
CACHE_BYTES |= {"q4_0": 0.5625, "iq4_nl": 0.5625}
# llama.cpp rounds contexts up to this (src/llama-kv-cache*.cpp) and works through a prompt in such pieces (`-ub`).
CACHE_STEP, BATCH_TOKENS = 256, 512
# A process on a card beyond its weights, cache and work space: the driver's context and the kernels that it loads at
# first use. It grows with the card: 0.3 to 0.6 GiB are known; 589 to 592 MiB were measured for four models of 0.2 to
# 3.7 GiB on an H100 of 80 GB. For a small card the lower end counts, and the spread of a first estimate on top of it.
LARGE_CARD_MIB, LARGE_CONTEXT_MIB = 80_000.0, 592.0
SMALL_CARD_MIB, SMALL_CONTEXT_MIB = 12_288.0, 307.0
# Values that the work space holds for each token of a piece, four bytes each. At its widest three rows inside a layer
# and four between the layers: what llama-server b11434 reserved for four shapes of Llama, to 0.1 MiB. In attention
# six between the layers, with one layer's cache turned into f16 where it is kept in less (q8_0 at 32,768 tokens).
WIDE_ROWS, ROWS, ATTENTION_ROWS = 3, 4, 6
# The process of an engine in the host's memory beyond weights and cache, and what it keeps of each token's text:
# measured with embedded children of four models of 32,000 to 128,000 tokens at contexts of 512, 2048 and 8192.
PROCESS_MIB, TOKEN_BYTES = 64.0, 160
# Most that is in common use (Gemma): what is assumed where a header does not say.
UNKNOWN_VOCABULARY = 262_144
# The promise of a first estimate; the profile's guess, where there is no header either, is taken for as good.
FIRST_SPREAD_MIB = 150.0
# Two loads of one model differ by some MiB even on a quiet card.
LEARNED_SPREAD_MIB, SIGMAS = 16.0, 2.0
# Contexts that are tried when the wanted one does not fit.
RUNGS = (8192, 4096, 2048)
SMALLER_CACHE = "q8_0"


def estimate_mib(
    weights: Weights, *, context_tokens: int, cache_type: str, engine_slots: int, card_mib: float | None
) -> float:
    """Memory of a model with all its layers on the card, or of its whole process in the host's memory.

    `context_tokens` is the context of one request, `engine_slots` how many have one, `card_mib` the size of the card,
    None for the host's memory. An unknown cache type counts
    as f16, the largest in use. Flash attention is taken for granted.
    """
    per_value = CACHE_BYTES.get(cache_type, CACHE_BYTES["f16"])
    cache = sum(_cached_values(weights, context_tokens)) * per_value * engine_slots
    work = _mask_bytes(context_tokens * engine_slots)
    if card_mib is None:
        vocabulary = weights.vocabulary or UNKNOWN_VOCABULARY
        return weights.file_mib + (cache + work + TOKEN_BYTES * vocabulary) / MIB + PROCESS_MIB
    unpacked = _unpacked_bytes(weights, context_tokens * engine_slots, per_value)
    work += max(4 * BATCH_TOKENS * _widest(weights), 4 * BATCH_TOKENS * ATTENTION_ROWS * weights.width + unpacked)
    return weights.file_mib - weights.embedding_mib + (cache + work) / MIB + driver_context_mib(card_mib)


def driver_context_mib(card_mib: float) -> float:
    """What the driver keeps for a process on a card of that size: between what was seen on small and on large ones."""
    share = (card_mib - SMALL_CARD_MIB) / (LARGE_CARD_MIB - SMALL_CARD_MIB)
    return SMALL_CONTEXT_MIB + min(1.0, max(0.0, share)) * (LARGE_CONTEXT_MIB - SMALL_CONTEXT_MIB)


def _widest(weights: Weights) -> int:
    """Values of one token that are alive at once; a probability for each of the vocabulary where no width is said."""
    if not weights.width or not weights.feed_forward:
        return weights.vocabulary or UNKNOWN_VOCABULARY
    return WIDE_ROWS * weights.feed_forward + ROWS * weights.width


def _cached_values(weights: Weights, context_tokens: int) -> Iterator[int]:
    """Values that each layer keeps of one request's context (src/llama-kv-cache-iswa.cpp for windows)."""
    whole = _stepped(context_tokens)
    for width, window in zip(weights.key_value_width, weights.window_tokens, strict=True):
        yield width * (min(whole, _stepped(window + BATCH_TOKENS)) if window else whole)


def _mask_bytes(tokens: int) -> int:
    """Which tokens of a piece of the prompt see which of the context, two bytes each."""
    return 2 * BATCH_TOKENS * tokens


def _unpacked_bytes(weights: Weights, tokens: int, per_value: float) -> int:
    """One layer's cache turned into f16 where it is kept in less (measured: 128 MiB more at 32,768 tokens)."""
    return 2 * tokens * max(weights.key_value_width) if per_value < CACHE_BYTES["f16"] else 0


def _stepped(tokens: int) -> int:
    return -(-tokens // CACHE_STEP) * CACHE_STEP


class Measured(Fact):
    """What loads of one model in one configuration took: a running mean by Welford's method.

    `squares` is the sum of squared deviations from the mean, `highest_mib` the most that was ever seen.
    """

    loads: int
    mean_mib: float
    squares: float
    highest_mib: float
    load_seconds: float


def add(measured: Measured | None, mib: float, seconds: float) -> Measured:
    """One more measurement: `mib` once it was used, `seconds` that its load took."""
    if measured is None:
        return Measured(loads=1, mean_mib=mib, squares=0.0, highest_mib=mib, load_seconds=seconds)
    loads = measured.loads + 1
    off = mib - measured.mean_mib
    mean = measured.mean_mib + off / loads
    return Measured(
        loads=loads,
        mean_mib=mean,
        squares=measured.squares + off * (mib - mean),
        highest_mib=max(measured.highest_mib, mib),
        load_seconds=measured.load_seconds + (seconds - measured.load_seconds) / loads,
    )


def grown(measured: Measured, mib: float) -> Measured:
    """The same loads, one of which was seen to take more in a later use."""
    return measured.model_copy(update={"highest_mib": max(measured.highest_mib, mib)})


def corrected(estimate_mib: float, others: Sequence[tuple[Measured, float]]) -> float:
    """A header's estimate, moved by what it was wrong by in the most similar configuration that was measured.

    `others` are measurements of the same model in the same place, each with the header's estimate for it.
    """
    if not others:
        return estimate_mib
    measured, estimated = min(others, key=lambda other: abs(other[1] - estimate_mib))
    return max(0.0, estimate_mib + measured.mean_mib - estimated)


def expected(measured: Measured | None, estimate_mib: float | None, profile_mib: float) -> Footprint:
    """The best that is known: what was measured, else the header's estimate, else the profile's guess."""
    if measured is not None:
        sigma = math.sqrt(measured.squares / (measured.loads - 1)) if measured.loads > 1 else 0.0
        spread = max(measured.highest_mib - measured.mean_mib, SIGMAS * sigma, LEARNED_SPREAD_MIB)
        return Footprint(mib=measured.mean_mib, spread_mib=spread, source="learned", load_seconds=measured.load_seconds)
    if estimate_mib is not None:
        return Footprint(mib=estimate_mib, spread_mib=FIRST_SPREAD_MIB, source="header")
    return Footprint(mib=profile_mib, spread_mib=FIRST_SPREAD_MIB, source="profile")


def ladder(spec_context: int, least_context: int, cache_types: Sequence[str]) -> tuple[tuple[int, str], ...]:
    """Contexts and cache types to try, best first: the wanted context, smaller ones, then all in a smaller cache.

    None is below `least_context`, which the work at hand needs (0: all that was wanted). `cache_types` are the
    engine's, the wanted one first; an engine that has no choice of its own has none.
    """
    least = min(least_context or spec_context, spec_context)
    contexts = [spec_context, *(rung for rung in RUNGS if least <= rung < spec_context)]
    first = cache_types[0] if cache_types else "f16"
    kinds = [first, SMALLER_CACHE] if SMALLER_CACHE in cache_types and first != SMALLER_CACHE else [first]
    return tuple((context, kind) for kind in kinds for context in contexts)
