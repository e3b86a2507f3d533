"""What an answer comes to in the end, and whether several answers come to the same. Pure."""

import re
from collections.abc import Sequence

from governor.policy.arithmetic import value

# How a final answer is announced: GSM8K's mark, TeX's box, or words. The last may mean but a part of the answer.
MARKED = re.compile(
    r"####[ \t]*(?P<hashes>[^\n]{1,200})"
    r"|\\boxed\{(?P<boxed>[^{}\n]{1,200})\}"
    r"|\bfinal answer(?: is|:| =)[ \t*:]*(?P<final>[^\n]{1,200}?)(?=\.\s|\n|$)"
    r"|\b(?:answer|result)(?: is|:| =)[ \t*:]*(?P<said>[^\n]{1,200}?)(?=\.\s|\n|$)",
    re.IGNORECASE,
)
NUMBER = re.compile(r"-?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:/\d+)?")
# An answer that is no longer is its own final answer.
SHORT_CHARACTERS = 80
ARTICLES = frozenset({"a", "an", "the"})
# A number that was rounded is the same number.
ROUNDED = 0.001


def final_answers(text: str, *, marked: bool = False) -> list[str]:
    """Every final answer that the text announces, in its order; `marked`: only those that must be the last word."""
    matches = (match for match in MARKED.finditer(text) if not (marked and match.lastgroup == "said"))
    return [found for match in matches if (found := (match[match.lastgroup or 0] or "").strip(" .*$"))]


def final_answer(text: str) -> str:
    """The last one announced; else the text itself where it is short, else its last line; '' of nothing."""
    announced = final_answers(text)
    if announced:
        return announced[-1]
    plain = text.strip()
    return plain if len(plain) <= SHORT_CHARACTERS else plain.splitlines()[-1].strip()


def agreement(texts: Sequence[str]) -> bool:
    """Whether two answers or more come to the same: numbers by value, words without case, marks and articles.

    Fewer than two agree on nothing, and neither do answers that say nothing.
    """
    finals = [final_answer(text) for text in texts]
    if len(finals) < 2 or not all(map(_words, finals)):
        return False
    return all(same(finals[0], other) for other in finals[1:])


def same(one: str, other: str) -> bool:
    """Whether two final answers mean the same; a unit that only one of them gives makes no difference."""
    if _words(one) == _words(other):
        return True
    first, second = number(one), number(other)
    if first is None or second is None or abs(first - second) > ROUNDED * max(abs(first), abs(second)):
        return False
    units, others = _units(one), _units(other)
    return units <= others or others <= units


def number(final: str) -> float | None:
    """The one number of a final answer, None where there is none or more than one."""
    found = NUMBER.findall(final)
    return value(found[0]) if len(found) == 1 else None


def _words(final: str) -> tuple[str, ...]:
    """The words that count; a comma in a number is no mark."""
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", final.casefold())
    return tuple(word for word in re.findall(r"-?\d+(?:\.\d+)?|[^\W\d_]+", plain) if word not in ARTICLES)


def _units(final: str) -> frozenset[str]:
    return frozenset(word for word in _words(final) if not word.lstrip("-")[:1].isdigit())
