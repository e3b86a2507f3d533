"""What in an answer itself says that it is wrong, for answers that no rule can check. Pure.

`doubts` is for production and accuses nobody lightly: whoever doubts a good answer pays for a second one. Weaker signs,
none of which would do alone, are weighed by a predictor that learned what they are worth (`policy.signals`).
"""

import re
from itertools import pairwise

from governor.policy.arithmetic import wrong_equations
from governor.policy.finals import agreement, final_answers, same

__all__ = ["agreement", "doubts"]

# What is longer is looked at in its beginning and its end: a refusal opens a text, a loop or a cut ends it.
HEAD_CHARACTERS, TAIL_CHARACTERS = 4000, 4000
# A refusal is the first thing said; the same words further down are a story, a letter or a quotation. "I'm sorry, I
# cannot come" is a letter, "I cannot access the link" is a model.
OPENING_CHARACTERS = 160
REFUSAL = re.compile(
    r"\b(?:i can(?:'|’)?t|i cannot|i(?:'|’)?m unable to|i am unable to|i(?:'|’)?m not able to|i am not able to) "
    r"(?:help with|assist|answer|comply|do that|access|fulfil|summari[sz]e|translate|open|browse|process|see|view)\b"
    r"|\bas an ai\b(?: language model| assistant)?",
    re.IGNORECASE,
)
CLUELESS = re.compile(
    r"\b(?:i (?:do not|don['’]t) have (?:enough|sufficient|access to|any) (?:information|context|details|data)"
    r"|(?:not enough|insufficient) (?:information|context|data) (?:is |was )?(?:given|provided|to)"
    r"|cannot be determined from)\b",
    re.IGNORECASE,
)
CORRECTS_ITSELF = re.compile(
    r"(?:^|[.!?\n] ?)(?:wait, (?:no|that)\b|on second thought|let me (?:recalculate|re-?check|correct|redo)\b"
    r"|i made (?:a|an) (?:mistake|error)|correction:)",
    re.IGNORECASE,
)
# Marks of the model's own wire format: they were not meant for a reader.
LEFTOVER = re.compile(r"<\|[a-z_]{2,20}\|>|\[/?INST\]")
ANNOUNCED = re.compile(r"(?:####|\b(?:final answer|the answer)(?: is)?:?)[ *]*$", re.IGNORECASE)
# A line that ends like this goes on. A bullet, a heading or a label may end without any mark; "Kind regards," may too.
GOES_ON = re.compile(r"(?:[(\[{=]|\b(?:a|an|the|of|and|or|because))$")
LEAST_WORDS_BEFORE_COMMA = 5
# The same line, or the same end of a text, so many times is no style any more; a table's rule and a song's refrain are.
LOOP_TIMES = 4
LONGEST_LOOP_CHARACTERS = 200
LEAST_LINE_CHARACTERS = 12


def doubts(text: str) -> list[str]:
    """What is wrong with an answer by its own words, in sentences for a record; [] when nothing is."""
    plain = text.strip()
    if not plain:
        return ["it said nothing"]
    ends = plain if len(plain) <= HEAD_CHARACTERS + TAIL_CHARACTERS else plain[:HEAD_CHARACTERS]
    found = (
        _said(REFUSAL, plain[:OPENING_CHARACTERS], "it declines"),
        _said(CLUELESS, plain[:OPENING_CHARACTERS], "it does not know"),
        _said(CORRECTS_ITSELF, ends, "it corrects itself"),
        _said(LEFTOVER, ends, "it holds a mark of its wire format"),
        _loop(plain[-TAIL_CHARACTERS:]),
        _cut_off(plain),
        _contradiction(ends),
        *(f"it reckons wrongly: {equation}" for equation in wrong_equations(ends)[:3]),
    )
    return [doubt for doubt in found if doubt]


def is_cut_off(text: str) -> bool:
    """Whether it stops in the middle of something."""
    return _cut_off(text.strip()) is not None


def _said(pattern: re.Pattern[str], text: str, doubt: str) -> str | None:
    match = pattern.search(text)
    return f"{doubt}: {' '.join(match.group().split())!r}" if match else None


def _loop(end: str) -> str | None:
    """A line that comes again and again in a row, or an end that does."""
    lines = [line.strip() for line in end.splitlines() if len(line.strip()) >= LEAST_LINE_CHARACTERS]
    in_a_row = 1
    for before, line in pairwise(lines):
        in_a_row = in_a_row + 1 if before == line and any(map(str.isalnum, line)) else 1
        if in_a_row >= LOOP_TIMES:
            return f"it repeats itself: {line[:40]!r}"
    for length in range(LEAST_LINE_CHARACTERS, min(LONGEST_LOOP_CHARACTERS, len(end) // LOOP_TIMES) + 1):
        last = end[-length:]
        if end.endswith(last * LOOP_TIMES) and len(set(last)) > 2 and any(map(str.isalpha, last)):
            return f"it repeats itself: {last[-40:]!r}"
    return None


def _cut_off(text: str) -> str | None:
    if text.count("```") % 2:
        return "a block of code is not closed"
    if text.count("<<") != text.count(">>") and "<<" in text[-TAIL_CHARACTERS:] and "```" not in text:
        return "a calculation is not closed"
    last = text[-TAIL_CHARACTERS:].splitlines()[-1].strip()
    if ANNOUNCED.search(last):
        return "it announces an answer and gives none"
    goes_on = bool(GOES_ON.search(last)) or (last.endswith(",") and len(last.split()) >= LEAST_WORDS_BEFORE_COMMA)
    if goes_on and "```" not in text and len(last.split()) > 1:
        return f"it is cut off: {last[-40:]!r}"
    return None


def _contradiction(text: str) -> str | None:
    """Two final answers that are both marked as such; several parts of a question may have an answer each."""
    finals = final_answers(text, marked=True)
    other = next((final for final in finals[1:] if not same(finals[0], final)), None)
    return None if other is None else f"it gives two answers: {finals[0][:40]!r} and {other[:40]!r}"
