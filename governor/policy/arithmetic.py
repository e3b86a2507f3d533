"""Equations in a text, worked out again: which of them cannot be right. Pure.

What a wrong one means for an answer is said in `policy.doubt`. Unknowns, units inside a sum and powers are left alone:
an equation that is not understood is not counted, so that nobody is accused of what was misread.
"""

import re
from itertools import pairwise
from typing import NamedTuple

from governor.policy.facts import Fact

TOKEN = re.compile(
    r"(?P<number>\d+(?:,\d{3})*(?:\.\d+)?(?![\d.,]*\d)|\.\d+)|(?P<sign>[-+*/()%=])"
    r"|(?P<blank>[ \t$€£]+)|(?P<other>[^\W\d]+|.)"
)
# A calculation that a model was trained to write beside its result: `3 * 4 = <<3*4=12>>12`.
ANNOTATION = re.compile(r"<<([^<>\n]{0,80})>>")
# How people, TeX and Markdown write what the parser reads; `5 x 3` is a product only between numbers.
SPELLINGS = (
    (ANNOTATION, ""),
    (re.compile(r"\\frac\{(\d+)\}\{(\d+)\}"), r"(\1/\2)"),
    (re.compile(r"\\times|\\cdot|\\\*|[×·∗⋅]"), "*"),
    (re.compile(r"\\div|÷"), "/"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"(?<=[\d)%])[ ]?[xX][ ]?(?=[\d($])"), "*"),
    (re.compile(r"(?<![\d/.])(\d+)/(\d+)(?![\d/.])"), r"(\1/\2)"),
)
# A value that was rounded on its way: two digits kept of 0.67 for 2/3 are 0.5% off, and sums of such add up.
ROUNDED = 0.015
# Nothing that people sum up in a line is longer; what stands in longer ones, or after so much text, is left alone.
MOST_TOKENS = 80
MOST_CHARACTERS_OF_LINE, MOST_CHARACTERS = 1000, 20_000


class Equation(Fact):
    """One equation of a text. `left` and `right` are what its sides come to."""

    said: str
    left: float
    right: float
    holds: bool


class _Token(NamedTuple):
    kind: str
    text: str


def equations(text: str) -> list[Equation]:
    """Every equation that is understood and has something to work out, in the order of the text."""
    found: list[Equation] = []
    for line in _plain(text[:MOST_CHARACTERS]).splitlines():
        if "=" in line and len(line) <= MOST_CHARACTERS_OF_LINE:
            sides = _sides(line)
            found += [e for pair in pairwise(sides) if (e := _equation(*pair)) is not None]
    return found


def wrong_equations(text: str) -> list[str]:
    """What is said in the text and cannot be right, such as `12 * 3 = 35`; those in `<<...>>` count too."""
    inside = "\n".join(ANNOTATION.findall(text[:MOST_CHARACTERS]))
    return list(dict.fromkeys(e.said for e in (*equations(text), *equations(inside)) if not e.holds))


def value(text: str) -> float | None:
    """What an expression of numbers, `+ - * / ( ) %` comes to, None when it is none."""
    return _value(_tokens(_plain(text)))


def _plain(text: str) -> str:
    for pattern, plain in SPELLINGS:
        text = pattern.sub(plain, text)
    return text


def _tokens(line: str) -> list[_Token]:
    found = (_Token(kind=m.lastgroup or "other", text=m.group()) for m in TOKEN.finditer(line))
    return [token for token in found if token.kind != "blank"]


def _sides(line: str) -> list[list[_Token]]:
    sides: list[list[_Token]] = [[]]
    for token in _tokens(line):
        if token.text == "=":
            sides.append([])
        else:
            sides[-1].append(token)
    return sides


def _equation(left: list[_Token], right: list[_Token]) -> Equation | None:
    """What the end of one side and the beginning of the next say about each other."""
    before, after = _last_sum(left), _first_sum(right)
    first, second = _value(before), _value(after)
    if first is None or second is None or (len(before) < 3 and len(after) < 3):
        return None
    if len(before) == 1 and len(left) > 1:  # `x / 5 = 2 * 3`: the number belongs to what is not understood
        return None
    percent = any(token.text == "%" for token in (*before, *after))
    said = " ".join(token.text for token in before) + " = " + " ".join(token.text for token in after)
    return Equation(said=said, left=first, right=second, holds=_same(first, second, percent=percent))


def _last_sum(side: list[_Token]) -> list[_Token]:
    """The arithmetic that a side ends with; nothing where it is but a part of something larger."""
    begin = len(side)
    while begin and _reads_on(side, begin - 1, begin):
        begin -= 1
    taken = side[begin:]
    while taken and taken[0].text == "(" and _open(taken) > 0:
        taken = taken[1:]
    is_part = (bool(taken) and taken[0].text in "+*/%)") or (begin > 0 and bool(taken) and taken[0].text == "-")
    return [] if is_part else taken


def _first_sum(side: list[_Token]) -> list[_Token]:
    """The arithmetic that a side begins with; nothing where it goes on with something that is not understood."""
    end = 0
    while end < len(side) and _reads_on(side, end, end - 1):
        end += 1
    taken = side[:end]
    while taken and taken[-1].text == ")" and _open(taken) < 0:
        taken = taken[:-1]
    is_part = (bool(taken) and taken[-1].text in "+*/(") or (end < len(side) and bool(taken) and taken[-1].text == "-")
    return [] if is_part else taken


def _reads_on(side: list[_Token], index: int, neighbour: int) -> bool:
    """Whether a token still belongs to the arithmetic beside it: two numbers in a row are two things."""
    if side[index].kind == "other":
        return False
    both = 0 <= neighbour < len(side) and side[index].kind == side[neighbour].kind == "number"
    return not both


def _open(tokens: list[_Token]) -> int:
    return sum({"(": 1, ")": -1}.get(token.text, 0) for token in tokens)


def _same(left: float, right: float, *, percent: bool) -> bool:
    """Whether the sides agree as people round: whole numbers exactly, others by 1.5% or to the next whole number."""
    scales = (1.0, 100.0, 0.01) if percent else (1.0,)
    return any(_close(left * scale, right) for scale in scales)


def _close(left: float, right: float) -> bool:
    if left == int(left) and right == int(right):
        return left == right
    rounded_to_whole = right == int(right) and abs(left - right) < 1
    return rounded_to_whole or abs(left - right) <= max(0.01, ROUNDED * max(abs(left), abs(right)))


def _value(tokens: list[_Token]) -> float | None:
    if not tokens or len(tokens) > MOST_TOKENS:
        return None
    try:
        total, rest = _sum(tokens)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return None if rest or abs(total) > 1e15 else round(total, 9)


def _sum(tokens: list[_Token]) -> tuple[float, list[_Token]]:
    total, rest = _product(tokens)
    while rest and rest[0].text in "+-":
        sign = 1 if rest[0].text == "+" else -1
        term, rest = _product(rest[1:])
        total += sign * term
    return total, rest


def _product(tokens: list[_Token]) -> tuple[float, list[_Token]]:
    total, rest = _factor(tokens)
    while rest and rest[0].text in "*/":
        by, after = _factor(rest[1:])
        total = total * by if rest[0].text == "*" else total / by
        rest = after
    return total, rest


def _factor(tokens: list[_Token]) -> tuple[float, list[_Token]]:
    if not tokens:
        raise ValueError("a sum that ends too early")
    first, rest = tokens[0], tokens[1:]
    if first.text == "-":
        found, rest = _factor(rest)
        found = -found
    elif first.text == "(":
        found, rest = _sum(rest)
        if not rest or rest[0].text != ")":
            raise ValueError("a bracket that is not closed")
        rest = rest[1:]
    elif first.kind == "number":
        found = float(first.text.replace(",", ""))
    else:
        raise ValueError(f"no number: {first.text}")
    while rest and rest[0].text == "%":
        found, rest = found / 100, rest[1:]
    return found, rest
