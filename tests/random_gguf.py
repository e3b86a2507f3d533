"""Writes a model of a Llama's shape with random weights: the size and the speed of a real one, its text is noise.

So that loads, evictions and memory can be tried at full size without fetching anything. The weights are one block
of random bytes in Q4_K, written again and again; the two scales of each of its 256-value groups are set so that
values are small and centred. Standard library only.

    python -m tests.random_gguf OUT --layers 32 --width 4096 --feed-forward 14336 --heads 32 --kv-heads 8
"""

import argparse
import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

# ggml's Q4_K: 256 values in 144 bytes, of which the first four are two half-precision scales (ggml-common.h).
GROUP_VALUES, GROUP_BYTES = 256, 144
GROUP_HEAD = struct.pack("<ee", 2e-4, 1.5e-3)
TEMPLATE_GROUPS = 1 << 16
ALIGNMENT = 32
F32, Q4_K = 0, 12
MOSTLY_Q4_K_M = 15
UINT32, INT32, FLOAT32, BOOL, TEXT, ARRAY = 4, 5, 6, 7, 8, 9
LAYOUTS = {UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?"}
# Kinds of tokens (llama.h, enum llama_token_type).
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@dataclass(frozen=True)
class Shape:
    """A Llama's dimensions. `width` and `feed_forward` are multiples of 256; `tied`: no output layer of its own."""

    layers: int = 4
    width: int = 512
    feed_forward: int = 1024
    heads: int = 8
    kv_heads: int = 2
    vocabulary: int = 1024
    context: int = 4096
    tied: bool = False


def write_model(path: Path, shape: Shape, *, seed: int = 1) -> Path:
    """Write the model; returns its path. 4 GB take as long as the disk needs for them."""
    if shape.width % GROUP_VALUES or shape.feed_forward % GROUP_VALUES or shape.width % shape.heads:
        raise ValueError("width and feed-forward must be multiples of 256, width one of the number of heads")
    tensors = list(_tensors(shape))
    with path.open("wb") as file:
        file.write(header(list(_keys(shape)), tensors))
        _write_weights(file, tensors, seed)
    return path


def header(keys: Sequence[bytes], tensors: Sequence[tuple[str, int, int]]) -> bytes:
    """Everything up to the first weight, padded to the alignment: `key`s and `listed`s, then names and shapes."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys)) + b"".join(keys)
    begins = 0
    for name, columns, rows in tensors:
        sizes = [columns] if rows == 1 else [columns, rows]
        kind = F32 if rows == 1 else Q4_K
        head += _text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, begins)
        begins += _padded(_tensor_bytes(columns, rows))
    return head.ljust(_padded(len(head)), b"\0")


def _keys(shape: Shape) -> Iterator[bytes]:
    yield key("general.architecture", TEXT, "llama")
    yield key("general.name", TEXT, "random")
    yield key("general.file_type", UINT32, MOSTLY_Q4_K_M)
    yield key("llama.context_length", UINT32, shape.context)
    yield key("llama.embedding_length", UINT32, shape.width)
    yield key("llama.block_count", UINT32, shape.layers)
    yield key("llama.feed_forward_length", UINT32, shape.feed_forward)
    yield key("llama.attention.head_count", UINT32, shape.heads)
    yield key("llama.attention.head_count_kv", UINT32, shape.kv_heads)
    yield key("llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5)
    yield key("llama.rope.dimension_count", UINT32, shape.width // shape.heads)
    yield key("llama.vocab_size", UINT32, shape.vocabulary)
    tokens, kinds = zip(*_vocabulary(shape.vocabulary), strict=True)
    yield key("tokenizer.ggml.model", TEXT, "llama")
    yield listed("tokenizer.ggml.tokens", TEXT, tokens)
    yield listed(
        "tokenizer.ggml.scores", FLOAT32, [-float(n) if kind == NORMAL else 0.0 for n, kind in enumerate(kinds)]
    )
    yield listed("tokenizer.ggml.token_type", INT32, kinds)
    yield key("tokenizer.ggml.unknown_token_id", UINT32, 0)
    yield key("tokenizer.ggml.bos_token_id", UINT32, 1)
    yield key("tokenizer.ggml.eos_token_id", UINT32, 2)
    yield key("tokenizer.chat_template", TEXT, CHAT_TEMPLATE)


def _vocabulary(size: int) -> Iterator[tuple[str, int]]:
    """Three special tokens, every byte, and words that nobody says."""
    yield from (("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL))
    yield from ((f"<0x{byte:02X}>", BYTE) for byte in range(256))
    yield from (("\u2581" * (n % 2) + _word(n // 2), NORMAL) for n in range(size - 259))


def _word(n: int) -> str:
    """A different word for each number, in the letters a to z."""
    letters = ""
    while True:
        n, letter = divmod(n, 26)
        letters += chr(ord("a") + letter)
        if n == 0:
            return letters
        n -= 1


def _tensors(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Name, columns (values of one input) and rows (outputs) of each; a norm has one row."""
    heads = shape.width // shape.heads * shape.kv_heads
    yield "token_embd.weight", shape.width, shape.vocabulary
    yield "output_norm.weight", shape.width, 1
    if not shape.tied:
        yield "output.weight", shape.width, shape.vocabulary
    for layer in range(shape.layers):
        for name, columns, rows in (
            ("attn_norm", shape.width, 1),
            ("attn_q", shape.width, shape.width),
            ("attn_k", shape.width, heads),
            ("attn_v", shape.width, heads),
            ("attn_output", shape.width, shape.width),
            ("ffn_norm", shape.width, 1),
            ("ffn_gate", shape.width, shape.feed_forward),
            ("ffn_up", shape.width, shape.feed_forward),
            ("ffn_down", shape.feed_forward, shape.width),
        ):
            yield f"blk.{layer}.{name}.weight", columns, rows


def _write_weights(file: BinaryIO, tensors: Sequence[tuple[str, int, int]], seed: int) -> None:
    dice = random.Random(seed)
    template = memoryview(_template(dice))
    for _, columns, rows in tensors:
        size = _tensor_bytes(columns, rows)
        if rows == 1:
            file.write(struct.pack("<f", 1.0) * columns)
        else:
            _repeat(file, template, dice.randrange(TEMPLATE_GROUPS) * GROUP_BYTES, size)
        file.write(bytes(_padded(size) - size))


def _template(dice: random.Random) -> bytes:
    """9 MiB of groups: random bytes behind the two scales of each."""
    body = GROUP_BYTES - len(GROUP_HEAD)
    noise = dice.randbytes(TEMPLATE_GROUPS * body)
    return b"".join(GROUP_HEAD + noise[at : at + body] for at in range(0, len(noise), body))


def _repeat(file: BinaryIO, template: memoryview, begin: int, size: int) -> None:
    """`size` bytes of the template, from a group in it and round again."""
    while size:
        size -= file.write(template[begin : begin + size])
        begin = 0


def _tensor_bytes(columns: int, rows: int) -> int:
    return 4 * columns if rows == 1 else columns * rows // GROUP_VALUES * GROUP_BYTES


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(kind: int, value: Any) -> bytes:
    return _text(value) if kind == TEXT else struct.pack("<" + LAYOUTS[kind], value)


def key(name: str, kind: int, value: Any) -> bytes:
    """One key with one value."""
    return _text(name) + struct.pack("<I", kind) + _value(kind, value)


def listed(name: str, kind: int, values: Sequence[Any]) -> bytes:
    """One key with a list of values."""
    head = _text(name) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(_value(kind, value) for value in values)


def main() -> None:
    """Write one model as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_gguf", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    default = Shape()
    for name in ("layers", "width", "feed_forward", "heads", "kv_heads", "vocabulary", "context"):
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=getattr(default, name))
    parser.add_argument("--tied", action="store_true", help="the output layer is the token embedding")
    parser.add_argument("--seed", type=int, default=1)
    options = vars(parser.parse_args())
    out, seed = options.pop("out"), options.pop("seed")
    print(f"{write_model(out, Shape(**options), seed=seed).stat().st_size / 1e9:.2f} GB in {out}")


if __name__ == "__main__":
    main()
