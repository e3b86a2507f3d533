"""A model's memory is read from the first bytes of its file, whatever the file is."""

import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from governor.errors import BadInput
from governor.gguf_header import read_weights, says_pooling, weights_from_keys
from tests.random_gguf import BOOL, TEXT, UINT32, Shape, header, key, listed, write_model

MIB = 1024 * 1024
SMALL = Shape(layers=3, width=256, feed_forward=512, heads=4, kv_heads=2, vocabulary=512, context=4096)
EMBEDDING_BYTES = 512 * 256 // 256 * 144


def _keys(architecture: str = "llama", **changes: Any) -> dict[str, Any]:
    """A made-up model of eight layers; a change of None leaves the key out."""
    plain = {"block_count": 8, "embedding_length": 512, "context_length": 8192, "vocab_size": 1000}
    heads = {"attention.head_count": 8, "attention.head_count_kv": 2}
    said = {f"{architecture}.{name.replace('__', '.')}": value for name, value in (plain | heads | changes).items()}
    return {"general.architecture": architecture} | {name: value for name, value in said.items() if value is not None}


def _widths(architecture: str = "llama", **changes: Any) -> tuple[int, ...]:
    weights = weights_from_keys(_keys(architecture, **changes), 100.0, 10.0)
    assert weights is not None
    return weights.key_value_width


def _windows(architecture: str, **changes: Any) -> tuple[int, ...]:
    weights = weights_from_keys(_keys(architecture, **changes), 100.0, 10.0)
    assert weights is not None
    return weights.window_tokens


def test_everything_that_decides_the_memory_is_read_from_a_file(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", SMALL)
    weights = read_weights(path)
    assert weights.architecture == "llama"
    assert weights.file_mib == path.stat().st_size / MIB
    assert weights.embedding_mib == EMBEDDING_BYTES / MIB
    assert weights.key_value_width == (2 * 2 * 64,) * 3
    assert weights.window_tokens == (0, 0, 0)
    assert (weights.vocabulary, weights.trained_context) == (512, 4096)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([key("general.architecture", TEXT, "bert"), key("bert.pooling_type", UINT32, 1)], True),
        ([key("general.architecture", TEXT, "bert"), key("llama.pooling_type", UINT32, 1)], False),
        ([key("general.architecture", TEXT, "llama")], False),
    ],
)
def test_whether_a_file_says_how_vectors_become_one(keys: list[bytes], says: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(header(keys, []))
    assert says_pooling(path) is says


def test_a_file_that_cannot_be_read_is_left_to_who_loads_it(tmp_path: Path) -> None:
    (tmp_path / "no-model").write_bytes(b"GGUF")
    assert says_pooling(tmp_path / "no-model") and says_pooling(tmp_path / "nothing")


def test_an_embedding_that_is_the_output_layer_too_goes_to_the_card(tmp_path: Path) -> None:
    tied = Shape(layers=1, width=256, feed_forward=256, heads=4, kv_heads=4, vocabulary=300, tied=True)
    assert read_weights(write_model(tmp_path / "m.gguf", tied)).embedding_mib == 0


def test_a_second_embedding_never_goes_to_the_card(tmp_path: Path) -> None:
    keys = [key("general.architecture", TEXT, "gemma3n"), key("gemma3n.block_count", UINT32, 4)]
    tensors = [("token_embd.weight", 256, 100), ("per_layer_token_embd.weight", 256, 200)]
    path = tmp_path / "m.gguf"
    path.write_bytes(header(keys, tensors) + bytes(300 * 144))
    assert read_weights(path).embedding_mib == 200 * 144 / MIB


def test_the_parts_of_a_split_model_count_together_whichever_is_named(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "whole.gguf", SMALL).read_bytes()
    first, second = (tmp_path / f"m-0000{part}-of-00002.gguf" for part in (1, 2))
    keys = [key("general.architecture", TEXT, "llama"), key("split.count", UINT32, 2)]
    first.write_bytes(header([*keys, key("llama.block_count", UINT32, 3)], []))
    second.write_bytes(whole)
    for named in (first, second):
        weights = read_weights(named)
        assert weights.file_mib == (first.stat().st_size + len(whole)) / MIB
        assert weights.embedding_mib == EMBEDDING_BYTES / MIB
    second.unlink()
    with pytest.raises(BadInput, match="No such file"):
        read_weights(first)


def test_a_large_vocabulary_is_counted_and_not_built(tmp_path: Path) -> None:
    words = [f"word{n}" for n in range(150_000)]
    keys = [
        key("general.architecture", TEXT, "llama"),
        key("llama.block_count", UINT32, 2),
        listed("tokenizer.ggml.tokens", TEXT, words),
        listed("tokenizer.ggml.merges", TEXT, [f"a {word}" for word in words]),
    ]
    path = tmp_path / "m.gguf"
    path.write_bytes(header(keys, []))
    best = 9.0
    for _ in range(5):
        started = time.perf_counter()
        assert read_weights(path).vocabulary == 150_000
        best = min(best, time.perf_counter() - started)
    # 31 ms on a quiet core of 2.8 GHz; the rest is patience with a busy one.
    assert best < 0.15


def test_a_head_is_as_wide_as_the_header_says_else_as_the_embedding_over_the_heads() -> None:
    assert _widths() == (2 * (64 + 64),) * 8
    assert _widths(attention__key_length=128, attention__value_length=96) == (2 * (128 + 96),) * 8
    assert _widths(attention__head_count_kv=None) == (8 * (64 + 64),) * 8


def test_layers_that_keep_no_context_count_nothing() -> None:
    mixed = [0, 2, 0, 2, 0, 2, 0, 4]
    assert _widths(attention__head_count_kv=mixed) == tuple(128 * heads for heads in mixed)
    assert _widths("mamba", attention__head_count=0, attention__head_count_kv=None) == (0,) * 8
    assert _widths("qwen3next", full_attention_interval=4) == (0, 0, 0, 256, 0, 0, 0, 256)
    assert _widths("gemma4", attention__shared_kv_layers=3) == (256,) * 5 + (0,) * 3
    assert _widths("gemma3n", block_count=30).count(0) == 10


def test_compressed_attention_keeps_one_vector_for_key_and_value() -> None:
    """kv_lora_rank 512 + rope 64, one head: what DeepSeek-V2's newer files say."""
    compressed = {"attention__key_length": 576, "attention__value_length": 512, "attention__head_count_kv": 1}
    lengths = {"attention__key_length_mla": 192, "attention__value_length_mla": 128}
    assert _widths("deepseek2", **compressed, **lengths) == (576,) * 8
    assert _widths("deepseek2", **compressed) == (576 + 512,) * 8


# src/models/*.cpp of llama.cpp: which layers of an architecture look back over a window only.
@pytest.mark.parametrize(
    ("architecture", "pattern", "windows"),
    [
        ("gemma2", None, (512, 0, 512, 0, 512, 0, 512, 0)),
        ("gpt-oss", None, (512, 0, 512, 0, 512, 0, 512, 0)),
        ("gemma3", None, (512, 512, 512, 512, 512, 0, 512, 512)),
        ("cohere2", None, (512, 512, 512, 0, 512, 512, 512, 0)),
        ("cohere2moe", None, (0, 512, 512, 512, 0, 512, 512, 512)),
        ("gemma3", 2, (512, 0, 512, 0, 512, 0, 512, 0)),
        ("gemma4", [True] * 7 + [False], (512,) * 7 + (0,)),
        ("gemma4", None, (0,) * 8),
        ("phi3", None, (0,) * 8),
        ("llama4", None, (0,) * 8),
        ("nobody-knows", [True] * 8, (0,) * 8),
    ],
)
def test_windows_are_known_by_architecture_and_else_the_whole_context_counts(
    architecture: str, pattern: Any, windows: tuple[int, ...]
) -> None:
    said = {"attention__sliding_window": 512, "attention__sliding_window_pattern": pattern}
    assert _windows(architecture, **said) == windows


def test_layers_of_a_window_may_have_heads_of_another_width() -> None:
    said = {"attention__sliding_window": 512, "attention__sliding_window_pattern": [True, False] * 4}
    widths = _widths("gemma4", **said, attention__key_length_swa=32, attention__value_length_swa=32)
    assert widths == (2 * 64, 2 * 128) * 4


def test_a_server_may_say_the_keys_and_leave_the_lists_out() -> None:
    """What Ollama's `/api/show` answers: long lists are null there."""
    told = _keys(vocab_size=None) | {"tokenizer.ggml.tokens": None}
    weights = weights_from_keys(told, 100.0, 0.0)
    assert weights is not None and weights.vocabulary == 0
    listed_tokens = weights_from_keys(_keys() | {"tokenizer.ggml.tokens": ["a", "b"]}, 100.0, 0.0)
    assert listed_tokens is not None and listed_tokens.vocabulary == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"block_count": None},
        {"block_count": 0},
        {"block_count": 100_000},
        {"block_count": "eight"},
        {"block_count": True},
        {"embedding_length": None},
        {"attention__head_count": -1},
        {"attention__head_count_kv": [2, 2]},
        {"attention__head_count_kv": {"a": 1}},
        {"attention__sliding_window": 3.5},
        {"context_length": 1 << 40},
    ],
)
def test_keys_that_do_not_suffice_are_no_weights(changes: dict[str, Any]) -> None:
    assert weights_from_keys(_keys(**changes), 100.0, 0.0) is None


def test_no_file_size_or_no_architecture_is_no_weights() -> None:
    assert weights_from_keys(_keys(), 0.0, 0.0) is None
    assert weights_from_keys({}, 100.0, 0.0) is None


HEAD = struct.Struct("<4sIQQ")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "ends within its header"),
        (b"GGUF", "ends within its header"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF file"),
        (HEAD.pack(b"GGUF", 1, 0, 0), "version 1"),
        (HEAD.pack(b"GGUF", 3 << 24, 0, 0), "version"),
        (HEAD.pack(b"GGUF", 3, 1 << 60, 0), "more keys or tensors"),
        (HEAD.pack(b"GGUF", 3, 0, 1 << 60), "more keys or tensors"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + struct.pack("<Q", 1 << 50), "ends within its header"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + struct.pack("<QII", 0, 99, 0), "unknown kind 99"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + struct.pack("<QIIQ", 0, 9, 8, 1 << 60), "more texts than any vocabulary"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + struct.pack("<QIIQ", 0, 9, 9, 2) + bytes(64), "unknown kind 9"),
        (HEAD.pack(b"GGUF", 3, 0, 1) + struct.pack("<QIIQ", 0, 9, 10, 1 << 60), "ends within its header"),
        (HEAD.pack(b"GGUF", 3, 1, 0) + struct.pack("<QI", 0, 99), "tensor of 99 dimensions"),
        (HEAD.pack(b"GGUF", 3, 1, 0) + struct.pack("<QIIQ", 0, 0, 12, 1 << 40), "ends before its tensors do"),
        (HEAD.pack(b"GGUF", 3, 0, 0), "does not say what its layers are like"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason_and_a_remedy(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=why) as refused:
        read_weights(path)
    assert "Fetch the file again" in refused.value.remedy and refused.value.data["path"] == str(path)


def test_a_folder_a_missing_file_and_an_impossible_part_are_refused(tmp_path: Path) -> None:
    for path in (
        tmp_path,
        tmp_path / "none.gguf",
        tmp_path / "m-00003-of-00002.gguf",
        tmp_path / "m-00001-of-00000.gguf",
    ):
        with pytest.raises(BadInput):
            read_weights(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.gguf")
    with pytest.raises(BadInput, match="not a regular file"):
        read_weights(tmp_path / "m.gguf")


def test_a_list_of_flags_is_read(tmp_path: Path) -> None:
    keys = [
        key("general.architecture", TEXT, "gemma4"),
        key("gemma4.block_count", UINT32, 2),
        key("gemma4.attention.sliding_window", UINT32, 512),
        listed("gemma4.attention.sliding_window_pattern", BOOL, [True, False]),
    ]
    path = tmp_path / "m.gguf"
    path.write_bytes(header(keys, []))
    assert read_weights(path).window_tokens == (512, 0)
