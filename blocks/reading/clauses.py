"""Two versions of a text as clauses, and which of them changed. The pairs are difflib's; nothing is judged here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from blocks.reading.claims import DOCUMENTS, Quote
from blocks.reading.places import files_in, locate, read_file, text_of, unreadable

NUMBERED = re.compile(r"^\s*(?:§\s*)?(\d+(?:\.\d+)*)[.)]?\s")
# Clauses that share less are not two versions of one, but one gone and one new.
LEAST_ALIKE = 0.4
# difflib compares every clause with every other.
MOST_CLAUSES = 400
MOST_CHARACTERS = 4000


@dataclass(frozen=True)
class Change:
    """A clause in the old and the new version; None where there is none."""

    old: Quote | None
    new: Quote | None


def changes_between(old_source: str, new_source: str) -> tuple[list[Change], list[str], int]:
    """What changed between two files, or between files of the same name in two folders.

    Returns: the changes in the order of the new text; the files that only one side has; how many clauses stayed.

    Raises:
        BadInput: unreadable, or nothing that could be compared.
    """
    old, new = _texts(old_source), _texts(new_source)
    shared = [(name, name) for name in new if name in old]
    if not shared and len(old) == len(new) == 1:
        shared = [(next(iter(old)), next(iter(new)))]
    if not shared:
        raise unreadable(new_source, f"no document of it has the name of one in {old_source}")
    changes: list[Change] = []
    stayed = 0
    for before, after in shared:
        found, same = paired(clauses(before, old[before]), clauses(after, new[after]))
        changes, stayed = changes + found, stayed + same
    matched = {name for pair in shared for name in pair}
    return changes, sorted((old.keys() | new.keys()) - matched), stayed


def clauses(path: str, text: str) -> list[Quote]:
    """Paragraphs, and numbered lines as paragraphs of their own; headings with what follows stay apart."""
    found: list[Quote] = []
    kept: list[str] = []
    begin = 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        ends = not line.strip() or NUMBERED.match(line) or line.startswith("#")
        if ends and kept:
            found.append(Quote(path, begin, "\n".join(kept)[:MOST_CHARACTERS]))
            kept = []
        if line.strip():
            begin = begin if kept else number
            kept.append(line.rstrip())
    return found[:MOST_CLAUSES]


def paired(old: Sequence[Quote], new: Sequence[Quote]) -> tuple[list[Change], int]:
    """The clauses that differ, in pairs where they are versions of one; and how many are the same."""
    matcher = SequenceMatcher(None, [plain(q.text) for q in old], [plain(q.text) for q in new], autojunk=False)
    changes: list[Change] = []
    for tag, i, j, k, n in matcher.get_opcodes():
        if tag != "equal":
            changes += _pairs(list(old[i:j]), list(new[k:n]))
    return changes, sum(block.size for block in matcher.get_matching_blocks())


def plain(text: str) -> str:
    """A clause without its line breaks and its number: renumbering alone is no change."""
    return NUMBERED.sub("", " ".join(text.split()) + " ").strip()


def _pairs(old: list[Quote], new: list[Quote]) -> list[Change]:
    """Each new clause with the old one it is most like, if it is like any."""
    changes: list[Change] = []
    for quote in new:
        alike = [(SequenceMatcher(None, plain(o.text), plain(quote.text)).ratio(), -n) for n, o in enumerate(old)]
        best, place = max(alike, default=(0.0, 0))
        changes.append(Change(old.pop(-place) if best >= LEAST_ALIKE else None, quote))
    return changes + [Change(quote, None) for quote in old]


def _texts(source: str) -> dict[str, str]:
    top = locate(source)
    paths = files_in(source, DOCUMENTS)
    return {(p.relative_to(top).as_posix() if p != top else p.name): text_of(read_file(p)) for p in paths}
