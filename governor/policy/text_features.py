"""What a predictor looks at in a text, as numbers of buckets: its words, its word pairs and its shape. Pure.

A bucket says nothing about the word it came from: 16,384 of them for all words there are.
"""

import re
import zlib
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

# With 16,384 buckets two words of a text share one now and then; 16 times as many gained 0.002 of area on exam
# questions, half as many lost 0.005. Two 16-bit numbers each make 64 KiB.
BUCKETS = 16384
# Letters of any script, each digit for itself (so that 1,200 and 3,400 look alike), each mark.
PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]")
# Words with the same first letters are mostly the same word with another ending.
STEM_LETTERS = 7
# A prompt begins with what to do and ends with the question; what is between is left out of a longer one.
HEAD_CHARACTERS, TAIL_CHARACTERS = 2000, 1000
# How much a pair and a mark of the shape count beside a word. 0.2 to 0.6 made no difference.
PAIR_SCALE, SHAPE_SCALE = 0.4, 0.3
OPERATORS = frozenset("=+*/^<>\\|~&%$∈∀∃→×÷≤≥")
CODE_MARKS = frozenset("{}[]();`_#")
NEGATIONS = frozenset({"not", "no", "except", "never", "least", "incorrect"[:STEM_LETTERS], "false", "without"})
# A share of a text falls into one of so many steps, each twice the one before: 0, to 1%, to 2%, to 4% ...
FIRST_STEP_SHARE = 0.01


class Features(NamedTuple):
    """Buckets with how much each counts. Those of `words` are weighed by their rarity and share one norm."""

    words: list[tuple[int, float]]
    signals: list[tuple[int, float]]


def features(text: str, signals: Mapping[str, float] | None = None) -> Features:
    """What is looked at in a text.

    Args:
        text: of any length; of a long one the beginning and the end.
        signals: findings about it by name, each from -1 to 1; 0 is left out.
    """
    if len(text) > HEAD_CHARACTERS + TAIL_CHARACTERS:
        text = f"{text[:HEAD_CHARACTERS]}\n{text[-TAIL_CHARACTERS:]}"
    pieces = [piece[:STEM_LETTERS] for piece in PIECES.findall(text.lower())]
    words = [(bucket(f"w{word}"), 1.0) for word in dict.fromkeys(pieces)]
    pairs = dict.fromkeys(pairwise(pieces))
    words += [(bucket(f"b{first} {second}"), PAIR_SCALE) for first, second in pairs]
    words += [(bucket(f"s{name}:{step}"), SHAPE_SCALE) for name, step in shape(text, pieces).items()]
    return Features(words, [(bucket(f"x{name}"), value) for name, value in (signals or {}).items() if value])


def bucket(name: str) -> int:
    """Its bucket, the same in every process and release."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass")) % BUCKETS


def shape(text: str, pieces: list[str]) -> dict[str, int]:
    """How long a text is and what it is made of, each in coarse steps."""
    length, count = max(1, len(text)), max(1, len(pieces))
    marks = Counter(text)
    lines = text.splitlines() or [""]
    shares = {
        "digits": sum(marks[digit] for digit in "0123456789") / length,
        "operators": sum(marks[mark] for mark in OPERATORS & marks.keys()) / length,
        "code": sum(marks[mark] for mark in CODE_MARKS & marks.keys()) / length,
        "capitals": sum(times for mark, times in marks.items() if mark.isupper()) / length,
        "foreign": sum(times for mark, times in marks.items() if mark > "\x7f") / length,
        "commas": marks[","] / length,
        "negations": sum(piece in NEGATIONS for piece in pieces) / count,
    }
    return {
        "length": length.bit_length(),
        "words": count.bit_length(),
        "lines": len(lines).bit_length(),
        "longest line": max(map(len, lines)).bit_length(),
        "shortest line": min(map(len, lines)).bit_length(),
        "sentences": (marks["."] + marks["!"] + marks["?"]).bit_length(),
        "questions": min(3, marks["?"]),
        "variety": int(10 * len(set(pieces)) / count),
        "word length": length // count,
        **{name: _step(share) for name, share in shares.items()},
    }


def _step(share: float) -> int:
    return int(share / FIRST_STEP_SHARE).bit_length() + (share > 0)
