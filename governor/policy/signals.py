"""Signs in an answer that it may be wrong, each weak alone: what a predictor weighs. Pure.

Strong signs are `policy.doubt`, which needs nothing learned. A sign here is a number from -1 to 1 with a name; what
it is worth for a model and a kind of work is learned from outcomes (`policy.learner`), never assumed.
"""

import math
import re

from governor.policy.arithmetic import equations, wrong_equations
from governor.policy.doubt import doubts, is_cut_off
from governor.policy.finals import final_answer, final_answers

NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})*(?:\.\d+)?|(?<![\w.])\.\d+")
HEDGE = re.compile(
    r"\b(?:assum\w*|approximately|about|roughly|probably|perhaps|maybe|might|unclear"
    r"|not (?:specified|given|clear|possible)|cannot|can't|would need|it seems|likely)\b",
    re.IGNORECASE,
)
# What a question about numbers says in words.
SPELLED = {
    **{
        word: float(index)
        for index, word in enumerate(
            ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
        )
    },
    "eleven": 11.0,
    "twelve": 12.0,
    "dozen": 12.0,
    "twenty": 20.0,
    "half": 2.0,
    "twice": 2.0,
    "double": 2.0,
    "triple": 3.0,
    "quarter": 4.0,
    "hundred": 100.0,
}


def answer_signals(prompt: str, answer: str) -> dict[str, float]:
    """Every sign by its name, for an answer to this prompt."""
    return {**_of_form(prompt, answer), **_of_numbers(prompt, answer)}


def _of_form(prompt: str, answer: str) -> dict[str, float]:
    lines = [line for line in answer.splitlines() if line.strip()]
    return {
        "doubted": float(bool(doubts(answer))),
        "cut off": float(is_cut_off(answer)),
        "unmarked": float(not final_answers(answer)),
        "hedges": _most(len(HEDGE.findall(answer)), 3),
        "long": _log(len(answer), 300),
        "prompt long": _log(len(prompt), 300),
        "lines": _log(len(lines) + 1, 5),
        "repeats": _repeated(answer),
        "one line": float(len(lines) == 1),
    }


def _of_numbers(prompt: str, answer: str) -> dict[str, float]:
    asked, given = _numbers(prompt), _numbers(answer)
    if not asked and not given:
        return {}
    final = _numbers(final_answer(answer))[-1:]
    known = equations(answer)
    results = {equation.right for equation in known}
    said = set(asked) | {SPELLED[word] for word in re.findall(r"[a-z]+", prompt.lower()) if word in SPELLED}
    unused = [number for number in set(asked) if number not in given]
    strange = [number for number in set(given) if number not in said and number not in results]
    return {
        "reckons wrongly": float(bool(wrong_equations(answer))),
        "no equation": float(not known),
        "equations": _log(len(known) + 1, 4),
        "unused": _most(len(unused), 2),
        "all used": float(not unused),
        "strange": _most(len(strange), 4),
        "no number": float(not final),
        "fraction": float(bool(final) and final[0] != int(final[0])),
        "zero": float(final == [0.0]),
        "final in question": float(bool(final) and final[0] in asked),
        "final worked out": float(bool(final) and final[0] in results),
        "final is last": float(bool(final) and bool(known) and final[0] == known[-1].right),
        "numbers": _log(len(asked) + 1, 4),
    }


def _numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in NUMBER.findall(text)]


def _most(count: int, most: int) -> float:
    return min(count, most) / most


def _log(count: float, usual: float) -> float:
    """How much more than usual, from -1 (an eighth and less) to 1 (eight times and more)."""
    return max(-1.0, min(1.0, math.log2(max(count, 1e-3) / usual) / 3))


def _repeated(text: str) -> float:
    """Share of the word triples that were there before."""
    words = text.lower().split()
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if triples else 0.0
