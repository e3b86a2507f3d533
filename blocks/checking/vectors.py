"""Whether vectors are usable, and which are near each other. Pure."""

import math
from array import array
from collections.abc import Mapping, Sequence
from operator import mul

# A vector shorter than this has no direction worth the name.
LEAST_LENGTH = 1e-6

Vector = Sequence[float]


def problem_of(vectors: object, *, wanted: int, width: int | None) -> str:
    """What is wrong with what a model gave for so many texts, '' when nothing is. `width`: that of those before."""
    if not isinstance(vectors, list) or len(vectors) != wanted:
        return "not one vector for each text"
    for vector in vectors:
        if not isinstance(vector, list | tuple) or not vector:
            return "a vector without numbers"
        if len(vector) != (width or len(vectors[0])):
            return f"{len(vector)} numbers instead of {width or len(vectors[0])}"
        if not all(isinstance(x, int | float) and math.isfinite(x) for x in vector):
            return "something in a vector is no number"
        if math.sqrt(sum(map(mul, vector, vector))) < LEAST_LENGTH:
            return "a vector without length"
    return ""


def unit(vector: Vector) -> list[float]:
    """The same direction, length 1."""
    length = math.sqrt(sum(map(mul, vector, vector)))
    return [x / length for x in vector] if length > LEAST_LENGTH else list(vector)


def middle(vectors: Sequence[Vector]) -> list[float]:
    """The direction that several have together."""
    return unit([sum(column) for column in zip(*vectors, strict=True)])


def near(name: str, vectors: Mapping[str, Vector], most: int) -> list[tuple[float, str]]:
    """(cosine, other) of the nearest; vectors have length 1."""
    own = vectors[name]
    pairs = ((round(sum(map(mul, own, other)), 4), key) for key, other in vectors.items() if key != name)
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1]))[:most]


def as_blob(vector: Vector) -> bytes:
    """As float32, little end first where machines are so, which all that run this are."""
    return array("f", vector).tobytes()


def from_blob(blob: bytes) -> list[float]:
    """The same back; [] for what is none."""
    numbers = array("f")
    if not blob or len(blob) % numbers.itemsize:
        return []
    numbers.frombytes(blob)
    return list(numbers) if all(math.isfinite(x) for x in numbers) else []
