"""Words of a house, found by how often and where they are used, and the sentences that explain them. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from blocks.checking.likeness import COMMON
from blocks.checking.prose import Check
from blocks.reading.notes import Note
from governor.policy.facts import Fact

ABBREVIATION = re.compile(r"\b[A-Z]{2,6}\b")
# Two words in a row that may be a term; a verb or a filler word in it makes it none (COMMON, FILLERS).
PAIR = re.compile(r"(?=\b([A-Za-z][a-z]{2,}[ -][A-Za-z][a-z]{2,})\b)")
FILLER_WORDS = """
it its be been write written take takes each day days every first second bike bikes old new must never two three see
same other keep kept gets goes go come comes back week weeks shop half left right long customer look
"""
FILLERS = frozenset(FILLER_WORDS.split())
# `The X is what ...`, `The long name, X for short, is the ...`, `X stands for ...`.
BEFORE = re.compile(r"(?:(?:an?|the)\s+)?(?:[\w -]{0,40},\s+)?", re.IGNORECASE)
AFTER = re.compile(
    r"\b(?:\s+for short)?,?\s+(?:(?:is|are)\s+(?:an?|the|what|one|any|our|when|where|how)\b|means\b|stands for\b)",
    re.IGNORECASE,
)
# A term that a sentence begins with begins no later.
MOST_BEFORE = 50
LEAST_USES, LEAST_NOTES = 3, 2
MOST_CHOICES = 4
LONGEST = 240


class Place(Fact):
    """A sentence that has the term in it."""

    note: str
    line: int
    sentence: str


class Term(Fact):
    """A term and where it is used, in order of notes and lines."""

    name: str
    places: tuple[Place, ...]

    @property
    def cites(self) -> list[str]:
        """Every place as NOTE:LINE, each once."""
        return list(dict.fromkeys(f"{place.note}:{place.line}" for place in self.places))

    @property
    def choices(self) -> tuple[str, ...]:
        """Sentences to choose the explanation among, word for word: those that explain, and some that only use it."""
        said = dict.fromkeys(place.sentence for place in self.places)
        fit = [sentence for sentence in said if len(sentence) <= LONGEST and '"' not in sentence]
        explaining = [sentence for sentence in fit if explains(self.name, sentence)][: MOST_CHOICES // 2]
        using = [sentence for sentence in fit if sentence not in explaining][: MOST_CHOICES - len(explaining)]
        return tuple(sentence for sentence in fit if sentence in explaining or sentence in using)

    @property
    def explained(self) -> bool:
        """Whether any sentence explains it."""
        return any(explains(self.name, sentence) for sentence in self.choices)


def terms_of(notes: Sequence[Note]) -> list[Term]:
    """Terms that are used at two places or more: explained ones first, then by how many notes use them."""
    places: dict[str, list[Place]] = defaultdict(list)
    for note in notes:
        for passage in note.passages:
            for sentence in passage.sentences:
                place = Place(note=note.id, line=passage.line, sentence=sentence)
                for name in dict.fromkeys(_candidates(sentence)):
                    places[name].append(place)
    terms = [Term(name=name, places=tuple(found)) for name, found in places.items() if _is_used(name, found)]
    return sorted(terms, key=lambda term: (not term.explained, -_notes(term.places), -len(term.places), term.name))


def _candidates(sentence: str) -> Iterable[str]:
    yield from ABBREVIATION.findall(sentence)
    for pair in PAIR.findall(sentence):
        plain = pair.lower()
        if not set(re.split(r"[ -]", plain)) & (COMMON | FILLERS):
            yield plain


def _is_used(name: str, places: Sequence[Place]) -> bool:
    if len({(place.note, place.line) for place in places}) < LEAST_NOTES:
        return False
    often = name.isupper() or (len(places) >= LEAST_USES and _notes(places) >= LEAST_NOTES)
    return often or any(explains(name, place.sentence) for place in places)


def _notes(places: Sequence[Place]) -> int:
    return len({place.note for place in places})


def explains(name: str, sentence: str) -> bool:
    """Whether a sentence says what the term is: it begins with the term, and then comes `is a` or the like."""
    words, wanted = sentence.lower(), name.lower()
    at = words.find(wanted, 0, MOST_BEFORE + len(wanted))
    while at >= 0:
        if BEFORE.fullmatch(words, 0, at) and AFTER.match(words, at + len(wanted)):
            return True
        at = words.find(wanted, at + 1, MOST_BEFORE + len(wanted))
    return False


def explanation_of(name: str) -> Check:
    """The rule for a chosen sentence."""
    return lambda text: [] if explains(name, text.strip().strip('"')) else [f"it does not say what {name} is"]
