"""What the header of a GGUF file says about the memory that its model takes. Reads a few MiB of it, no tensor.

An own parser, because the `gguf` package takes 0.19 s to import, and 2.5 s and 189 MiB to read a file of 49,000
tokens (measured), for a handful of numbers that stand in the first bytes: here every list of texts is counted and
skipped, not built. The format is ggml's docs/gguf.md. What the keys mean for memory is llama.cpp's
src/llama-hparams.cpp, src/models/*.cpp and src/llama-kv-cache*.cpp. The formula is `policy.footprint`.
"""

import re
import stat
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from governor.errors import BadInput
from governor.policy.attention import Unclear, feed_forward_width, key_value_width, number, window_tokens
from governor.policy.facts import Weights
from governor.settings import MIB

HEAD = struct.Struct("<4sIQQ")
LENGTH = struct.Struct("<Q")
KIND = struct.Struct("<I")
ARRAY_HEAD = struct.Struct("<IQ")
PLACE = struct.Struct("<IQ")
TEXT_KIND, ARRAY_KIND = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
VERSIONS = (2, 3)
CHUNK_BYTES = MIB
# Bounds far above every real file, so that rubbish ends in an error and not in an hour: the largest
# vocabularies have 262,144 tokens and twice as many merges, the largest models some thousand tensors.
MOST_KEYS, MOST_TENSORS, MOST_TEXTS = 1 << 12, 1 << 16, 1 << 22
# No text that is used here is longer (ggml's names have 63 bytes); a longer one is skipped.
LONGEST_TEXT = 255
# llama.cpp takes 512 layers at most; a longer array is no list of layers and is only counted.
LONGEST_ARRAY = 512
MOST_DIMENSIONS = 8
ALIGNMENT = 32
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
FETCH = "Fetch the file again, or name another one."
TOKENS = "tokenizer.ggml.tokens"
EMBEDDING, PER_LAYER_EMBEDDING, OUTPUT = "token_embd.weight", "per_layer_token_embd.weight", "output.weight"


def read_weights(path: Path) -> Weights:
    """What decides the memory of the model in `path`; of a model in parts any part may be named.

    Raises:
        BadInput: there is no such file, or it is not a GGUF file of version 2 or 3, or its header is damaged.
    """
    try:
        parts = _parts(path)
        seen = tuple(_state_of(part) for part in parts)
        return _read(path, seen)
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from error
    except ValueError as error:
        raise _refused(path, str(error)) from error


@lru_cache(maxsize=64)
def _read(path: Path, seen: tuple[tuple[Path, int, int], ...]) -> Weights:
    """Once for each process and state of the files: a load needs it before and after, 14 to 28 ms each time."""
    headers = [_Header.read(part) for part, _size, _changed_ns in seen]
    sizes = {name: size for header in headers for name, size in header.sizes.items()}
    # A tied output layer is a copy of the embedding on the card; gemma3n's second embedding never goes there.
    embedding = (sizes.get(EMBEDDING, 0) if OUTPUT in sizes else 0) + sizes.get(PER_LAYER_EMBEDDING, 0)
    file_bytes = sum(header.file_bytes for header in headers)
    weights = weights_from_keys(headers[0].keys, file_bytes / MIB, embedding / MIB)
    if weights is None:
        raise _refused(path, "it does not say what its layers are like")
    return weights


def says_pooling(path: Path) -> bool:
    """Whether the file of an embedding model says how the vectors of a text's tokens become one.

    One that cannot be read is left to whoever loads it, to say why.
    """
    try:
        keys = _Header.read(_parts(path)[0]).keys
    except (OSError, ValueError):
        return True
    return f"{keys.get('general.architecture')}.pooling_type" in keys


def weights_from_keys(keys: Mapping[str, Any], file_mib: float, embedding_mib: float) -> Weights | None:
    """The same from keys and values, as Ollama's `model_info` lists them; None where they do not suffice.

    A list of tokens may stand as the number of its entries, or be missing: the vocabulary is 0 then, unknown.
    """
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str) or not architecture or file_mib <= 0 or embedding_mib < 0:
        return None
    try:
        tokens = keys.get(TOKENS)
        counted = len(tokens) if isinstance(tokens, list | tuple) else number(tokens)
        return Weights(
            architecture=architecture,
            file_mib=file_mib,
            embedding_mib=embedding_mib,
            key_value_width=key_value_width(architecture, keys),
            window_tokens=window_tokens(architecture, keys),
            vocabulary=counted or number(keys.get(f"{architecture}.vocab_size")),
            trained_context=number(keys.get(f"{architecture}.context_length")),
            width=number(keys.get(f"{architecture}.embedding_length")),
            feed_forward=feed_forward_width(architecture, keys),
        )
    except Unclear:
        return None


def _parts(path: Path) -> list[Path]:
    """All files of a model that is split as llama-gguf-split names them, or the one file."""
    split = PART.search(path.name)
    if split is None:
        return [path]
    stem, count = path.name[: split.start()], int(split[2])
    if not 1 <= int(split[1]) <= count:
        raise ValueError("its name counts parts that cannot be")
    return [path.with_name(f"{stem}-{part:05}-of-{count:05}.gguf") for part in range(1, count + 1)]


def _state_of(part: Path) -> tuple[Path, int, int]:
    """Raises OSError, ValueError: a pipe, say, would be waited for without end."""
    status = part.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    return part, status.st_size, status.st_mtime_ns


def _refused(path: Path, why: str) -> BadInput:
    return BadInput(
        f"The header of {path} cannot be read: {why}.", means="Nothing was loaded.", remedy=FETCH, path=str(path)
    )


class _Header:
    """One file's header: its keys (long arrays as their length) and the sizes of the tensors that matter."""

    def __init__(self, file_bytes: int, keys: dict[str, Any], sizes: dict[str, int]) -> None:
        self.file_bytes = file_bytes
        self.keys = keys
        self.sizes = sizes

    @classmethod
    def read(cls, path: Path) -> "_Header":
        """Raises OSError, and ValueError with a reason for a person."""
        with path.open("rb", buffering=0) as file:
            reader = _Reader(file, path.stat().st_size)
            tensors, keys = _counts(reader)
            found = dict(_key(reader) for _ in range(keys))
            return cls(reader.size, found, _sizes(reader, tensors, found.get("general.alignment")))


def _counts(reader: "_Reader") -> tuple[int, int]:
    magic, version, tensors, keys = reader.unpack(HEAD)
    if magic != b"GGUF":
        raise ValueError("it is not a GGUF file")
    if version not in VERSIONS:
        raise ValueError(f"it has version {version} of the format (2 and 3 are known, little-endian)")
    if tensors > MOST_TENSORS or keys > MOST_KEYS:
        raise ValueError("it counts more keys or tensors than any model has")
    return tensors, keys


def _key(reader: "_Reader") -> tuple[str, Any]:
    name = reader.text()
    (kind,) = reader.unpack(KIND)
    if kind == TEXT_KIND:
        return name, reader.text()
    if kind == ARRAY_KIND:
        return name, _array(reader)
    return name, reader.unpack(_scalar(kind))[0]


def _array(reader: "_Reader") -> Any:
    """The numbers of a short one, the length of every other one."""
    kind, count = reader.unpack(ARRAY_HEAD)
    if kind == TEXT_KIND:
        reader.skip_texts(count)
        return count
    scalar = _scalar(kind)
    if count > LONGEST_ARRAY:
        reader.skip(count * scalar.size)
        return count
    return [reader.unpack(scalar)[0] for _ in range(count)]


def _scalar(kind: int) -> struct.Struct:
    code = SCALARS.get(kind)
    if code is None:
        raise ValueError(f"it has a value of the unknown kind {kind}")
    return struct.Struct("<" + code)


def _sizes(reader: "_Reader", tensors: int, alignment: Any) -> dict[str, int]:
    """Bytes of the embeddings (and whether there is an output layer): up to where the next tensor begins."""
    begins = dict(_tensor(reader) for _ in range(tensors))
    grid = alignment if isinstance(alignment, int) and alignment > 0 else ALIGNMENT
    data_bytes = reader.size - -(-reader.position // grid) * grid
    ends = sorted({*begins.values(), data_bytes})
    if ends[-1] > data_bytes:
        raise ValueError("it ends before its tensors do")
    wanted = (name for name in (EMBEDDING, PER_LAYER_EMBEDDING, OUTPUT) if name in begins)
    return {name: next((end for end in ends if end > begins[name]), data_bytes) - begins[name] for name in wanted}


def _tensor(reader: "_Reader") -> tuple[str, int]:
    """Name of a tensor, and where in the data it begins."""
    name = reader.text()
    (dimensions,) = reader.unpack(KIND)
    if dimensions > MOST_DIMENSIONS:
        raise ValueError(f"it has a tensor of {dimensions} dimensions")
    reader.skip(dimensions * LENGTH.size)
    _kind, begins = reader.unpack(PLACE)
    return name, begins


class _Reader:
    """Reads forward through a file, a chunk at a time, and never beyond its end (ValueError)."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self.position = 0
        self._file = file
        self._chunk = b""
        self._chunk_begins = 0
        self._texts_left = MOST_TEXTS

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        """The next values."""
        at = self._ahead(layout.size)
        self.position += layout.size
        return layout.unpack_from(self._chunk, at)

    def text(self) -> str:
        """The next text; empty when nothing that is used here could be so long."""
        (length,) = self.unpack(LENGTH)
        if length > LONGEST_TEXT:
            self.skip(length)
            return ""
        at = self._ahead(length)
        self.position += length
        return self._chunk[at : at + length].decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        """Go on `count` bytes."""
        if count > self.size - self.position:
            raise ValueError("it ends within its header")
        self.position += count

    def skip_texts(self, count: int) -> None:
        """Go on by so many texts. The loop is all that a large vocabulary costs: 0.1 us each."""
        self._texts_left -= count
        if self._texts_left < 0:
            raise ValueError("it lists more texts than any vocabulary has")
        unpack_from, head = LENGTH.unpack_from, LENGTH.size
        while count:
            begin = at = self._ahead(head)
            chunk, last = self._chunk, len(self._chunk) - head
            for left in range(count, 0, -1):
                if at > last:
                    count = left
                    break
                at += head + unpack_from(chunk, at)[0]
            else:
                count = 0
            self.skip(at - begin)

    def _ahead(self, count: int) -> int:
        """Where in the chunk the position is, once `count` bytes from there are in the chunk."""
        at = self.position - self._chunk_begins
        if at + count <= len(self._chunk):
            return at
        self._file.seek(self.position)
        self._chunk, self._chunk_begins = self._file.read(CHUNK_BYTES), self.position
        if count > len(self._chunk):
            raise ValueError("it ends within its header")
        return 0
