"""Laws of the header reader and of the estimate: rubbish ends in a typed error, soon and in little memory."""

import contextlib
import functools
import random
import tempfile
import time
import tracemalloc
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from governor.errors import BadInput
from governor.gguf_header import read_weights, weights_from_keys
from governor.policy.facts import Weights
from governor.policy.footprint import estimate_mib
from tests.random_gguf import Shape, write_model

NUMBERS = st.one_of(st.integers(-1, 1 << 40), st.none(), st.text(max_size=3), st.booleans(), st.floats())
VALUES = st.one_of(NUMBERS, st.lists(NUMBERS, max_size=9))
NAMES = ("block_count", "embedding_length", "context_length", "vocab_size", "full_attention_interval")
ATTENTION = ("head_count", "head_count_kv", "key_length", "value_length", "sliding_window", "sliding_window_pattern")
ARCHITECTURES = st.sampled_from(["llama", "gemma2", "gemma3", "gemma3n", "gemma4", "cohere2moe", "mamba", "new"])


@functools.cache
def _sound() -> bytes:
    """A sound file; the first 12 kB are its header."""
    with tempfile.TemporaryDirectory() as folder:
        shape = Shape(layers=2, width=256, feed_forward=256, heads=4, kv_heads=2, vocabulary=300)
        return write_model(Path(folder, "m.gguf"), shape).read_bytes()


def _read(content: bytes) -> Weights | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.gguf")
        path.write_bytes(content)
        try:
            return read_weights(path)
        except BadInput:
            return None


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 1 << 32), hits=st.integers(1, 40))
def test_a_header_with_bytes_changed_is_read_or_refused_in_a_second(seed: int, hits: int) -> None:
    dice, content = random.Random(seed), bytearray(_sound())
    for _ in range(hits):
        content[dice.randrange(24, 12_000)] = dice.choice((0, 1, 8, 9, 255, dice.randrange(256)))
    started = time.process_time()
    _read(bytes(content))
    assert time.process_time() - started < 1.0


@settings(max_examples=100, deadline=None)
@given(share=st.floats(0, 1))
def test_a_header_that_ends_early_is_refused(share: float) -> None:
    assert _read(_sound()[: int(share * 10_000)]) is None


@settings(max_examples=100, deadline=None)
@given(rubbish=st.binary(max_size=200), tensors=st.integers(0, 1 << 63), keys=st.integers(0, 1 << 63))
def test_rubbish_behind_a_sound_beginning_is_refused_in_little_memory(rubbish: bytes, tensors: int, keys: int) -> None:
    tracemalloc.start()
    try:
        _read(
            b"GGUF" + (3).to_bytes(4, "little") + tensors.to_bytes(8, "little") + keys.to_bytes(8, "little") + rubbish
        )
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


@settings(max_examples=20, deadline=None)
@given(kind=st.integers(0, 12), count=st.integers(1, 1 << 23))
def test_a_large_empty_file_costs_seconds_at_the_most(kind: int, count: int) -> None:
    """A list of very many texts or numbers, all zero, in a file with a hole of 1 GiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.gguf")
        head = b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little")
        head += bytes(8) + (9).to_bytes(4, "little") + kind.to_bytes(4, "little") + count.to_bytes(8, "little")
        with path.open("wb") as file:
            file.write(head)
            file.truncate(1 << 30)
        started = time.process_time()
        with contextlib.suppress(BadInput):
            read_weights(path)
        assert time.process_time() - started < 5.0


@settings(max_examples=300, deadline=None)
@given(
    architecture=ARCHITECTURES,
    plain=st.dictionaries(st.sampled_from(NAMES), VALUES),
    attention=st.dictionaries(st.sampled_from(ATTENTION), VALUES),
)
def test_any_keys_give_weights_or_none(
    architecture: str, plain: dict[str, object], attention: dict[str, object]
) -> None:
    keys: dict[str, object] = {"general.architecture": architecture}
    keys |= {f"{architecture}.{name}": value for name, value in plain.items()}
    keys |= {f"{architecture}.attention.{name}": value for name, value in attention.items()}
    weights = weights_from_keys(keys, 100.0, 1.0)
    if weights is not None:
        assert len(weights.key_value_width) == len(weights.window_tokens)


@settings(max_examples=200, deadline=None)
@given(
    widths=st.lists(st.integers(0, 4096), min_size=1, max_size=40),
    window=st.integers(0, 4096),
    contexts=st.tuples(st.integers(256, 65_536), st.integers(256, 65_536)),
    slots=st.integers(1, 8),
    on_card=st.booleans(),
)
def test_more_context_more_slots_and_a_larger_cache_never_take_less(
    widths: list[int], window: int, contexts: tuple[int, int], slots: int, on_card: bool
) -> None:
    weights = Weights(
        architecture="llama",
        file_mib=500.0,
        embedding_mib=20.0,
        key_value_width=tuple(widths),
        window_tokens=tuple(window if layer % 2 else 0 for layer in range(len(widths))),
        vocabulary=32_000,
        trained_context=32_768,
    )

    def take(context: int, cache: str, slots: int) -> float:
        return estimate_mib(
            weights, context_tokens=context, cache_type=cache, engine_slots=slots, card_mib=80_000 if on_card else None
        )

    small, large = sorted(contexts)
    assert take(small, "f16", slots) <= take(large, "f16", slots) <= take(large, "f16", slots + 1)
    assert take(small, "q8_0", slots) <= take(large, "q8_0", slots)
    assert take(small, "f16", slots) > weights.file_mib - weights.embedding_mib
