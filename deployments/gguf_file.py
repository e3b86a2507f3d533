"""Writes the head of a GGUF file: keys, values, names and sizes of tensors. The format is ggml's docs/gguf.md.

An own writer, because the `gguf` package brings numpy along, for a few structs. What stands in the file is the
caller's to know; reading is `governor.gguf_header`.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

UINT32, INT32, FLOAT32, BOOL, TEXT, ARRAY = 4, 5, 6, 7, 8, 9
LAYOUTS = {UINT32: "I", INT32: "i", FLOAT32: "f", BOOL: "?"}
# How a tensor's numbers are kept (ggml.h, enum ggml_type): in 4 bytes, in 2.
F32, F16 = 0, 1
VERSION = 3
ALIGNMENT = 32


class Listed(NamedTuple):
    """A tensor as the head lists it; `sizes` columns first, `size_bytes` of its numbers in this file."""

    name: str
    sizes: Sequence[int]
    kind: int
    size_bytes: int


def key(name: str, kind: int, value: Any) -> bytes:
    """One key with one value. Raises struct.error for a value that is not of its kind."""
    return _text(name) + struct.pack("<I", kind) + _value(kind, value)


def listed(name: str, kind: int, values: Sequence[Any]) -> bytes:
    """One key with a list of values."""
    head = _text(name) + struct.pack("<IIQ", ARRAY, kind, len(values))
    return head + b"".join(_value(kind, value) for value in values)


def head(keys: Sequence[bytes], tensors: Sequence[Listed]) -> bytes:
    """Everything up to the first number; each tensor's numbers follow, each padded to `padded`."""
    parts = [struct.pack("<4sIQQ", b"GGUF", VERSION, len(tensors), len(keys)), *keys]
    begins = 0
    for name, sizes, kind, size_bytes in tensors:
        parts.append(_text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, begins))
        begins += padded(size_bytes)
    whole = b"".join(parts)
    return whole.ljust(padded(len(whole)), b"\0")


def padded(size: int) -> int:
    """The next place where a tensor may begin."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(kind: int, value: Any) -> bytes:
    return _text(value) if kind == TEXT else struct.pack("<" + LAYOUTS[kind], value)
