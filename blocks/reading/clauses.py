"""Two versions of a text as clauses, and which of them changed: whole texts are held against each other.

What is the same on both sides difflib finds; versions of one clause share words. Nothing is judged here.
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from blocks.reading.claims import Documents, Quote
from blocks.reading.places import unreadable

NUMBERED = re.compile(r"^\s*(?:§\s*)?(\d+(?:\.\d+)*)[.)]?\s")
# Clauses that share less are not two versions of one, but one gone and one new.
LEAST_ALIKE = 0.4
# Between the first and the last change: difflib compares every clause with every other.
MOST_CLAUSES = 400
# How alike two clauses are is told by so much of them, and only those that stand near each other are looked at.
MOST_CHARACTERS, MOST_NEAR = 4000, 100
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Change:
    """A clause in the old and the new version; None where there is none."""

    old: Quote | None
    new: Quote | None

    @property
    def alone(self) -> list[str]:
        """The text of a clause that only one version has."""
        return [plain(quote.text) for quote in (self.old, self.new) if quote] if None in (self.old, self.new) else []


@dataclass
class Compared:
    """Two versions. `changes`: by the new text; `lonely`: files of one side; `left`: clauses not compared."""

    changes: list[Change] = field(default_factory=list)
    stayed: int = 0
    left: int = 0
    lonely: list[str] = field(default_factory=list)


def changes_between(before: Documents, after: Documents) -> Compared:
    """What changed between two files, or between files of the same name in two folders.

    Raises:
        BadInput: there is nothing that could be compared.
    """
    old, new = before.texts, after.texts
    shared = [(name, name) for name in new if name in old]
    if not shared and len(old) == len(new) == 1:
        shared = [(next(iter(old)), next(iter(new)))]
    if not shared:
        raise unreadable(after.source, f"no document of it has the name of one in {before.source}")
    found = Compared(lonely=sorted((old.keys() | new.keys()) - {name for pair in shared for name in pair}))
    for one, other in shared:
        part = paired(clauses(one, old[one]), clauses(other, new[other]))
        found.changes += part.changes
        found.stayed, found.left = found.stayed + part.stayed, found.left + part.left
    return found


def clauses(path: str, text: str) -> list[Quote]:
    """Paragraphs, and numbered lines as paragraphs of their own; headings with what follows stay apart."""
    found: list[Quote] = []
    kept: list[str] = []
    begin = 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        ends = not line.strip() or NUMBERED.match(line) or line.startswith("#")
        if ends and kept:
            found.append(Quote(path, begin, "\n".join(kept)))
            kept = []
        if line.strip():
            begin = begin if kept else number
            kept.append(line.rstrip())
    return found


def paired(old: Sequence[Quote], new: Sequence[Quote]) -> Compared:
    """The clauses that differ, in pairs where they are versions of one; and how many are the same."""
    said, says = [plain(quote.text) for quote in old], [plain(quote.text) for quote in new]
    first = _common(said, says)
    last = _common(said[first:][::-1], says[first:][::-1])
    ends = [min(first + MOST_CLAUSES, len(side) - last) for side in (said, says)]
    matcher = SequenceMatcher(None, said[first : ends[0]], says[first : ends[1]], autojunk=False)
    found = Compared(stayed=first + last + sum(block.size for block in matcher.get_matching_blocks()))
    found.left = max(len(said) - last - ends[0], len(says) - last - ends[1])
    for tag, i, j, k, n in matcher.get_opcodes():
        if tag != "equal":
            found.changes += _pairs(old[first + i : first + j], new[first + k : first + n])
    if found.left:  # what has its like past the bound is neither gone nor new
        past = {*said[ends[0] :], *says[ends[1] :]}
        found.changes = [change for change in found.changes if past.isdisjoint(change.alone)]
    return found


def plain(text: str) -> str:
    """A clause without its line breaks and its number: renumbering alone is no change."""
    return NUMBERED.sub("", " ".join(text.split()) + " ").strip()


def around(one: str, other: str, most: int) -> tuple[str, str]:
    """Both texts from shortly before they differ, where whoever reads `most` characters would not come so far."""
    first = _common(one, other)
    begin = one.rfind(" ", 0, first - most // 3) + 1 if first > most // 2 else 0
    return (f"… {one[begin:]}", f"… {other[begin:]}") if begin else (one, other)


def _pairs(old: Sequence[Quote], new: Sequence[Quote]) -> list[Change]:
    """Each new clause with the old one near it that it is most like, if it is like any."""
    changes: list[Change] = []
    words, left = [_words(quote) for quote in old], [*range(len(old))]
    for number, quote in enumerate(new):
        near = bisect(left, number * len(old) // len(new))
        own = _words(quote)
        alike = [(_alike(words[n], own), -n) for n in left[max(0, near - MOST_NEAR // 2) : near + MOST_NEAR // 2]]
        best, place = max(alike, default=(0.0, 0))
        if best >= LEAST_ALIKE:
            left.remove(-place)
        changes.append(Change(old[-place] if best >= LEAST_ALIKE else None, quote))
    return changes + [Change(old[n], None) for n in left]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of their first elements are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


def _words(quote: Quote) -> Counter[str]:
    return Counter(WORD.findall(plain(quote.text[:MOST_CHARACTERS])))


def _alike(one: Counter[str], other: Counter[str]) -> float:
    """The share of words that both have (Dice's coefficient), 0 to 1."""
    return 2 * (one & other).total() / max(1, one.total() + other.total())
