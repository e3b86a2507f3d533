"""Which notes are near each other: by vectors where they have some, by their words otherwise. Pure."""

from collections.abc import Mapping, Sequence

from blocks.checking.likeness import Likeness
from blocks.checking.vectors import middle, near
from blocks.reading.notes import Note
from governor.policy.facts import Fact

MOST = 3
# Notes with less in common by their words are no neighbours.
LEAST_LIKE = 0.08


class Neighbours(Fact):
    """Of one note, nearest first, each with its cosine. `by`: `vectors` or `words`."""

    note: str
    near: tuple[tuple[float, str], ...]
    by: str


def neighbours(notes: Sequence[Note], vectors: Mapping[str, list[list[float]]]) -> list[Neighbours]:
    """For every note, by path."""
    middles = {name: middle(found) for name, found in vectors.items()}
    likeness = Likeness({note.id: note.text for note in notes})
    return [
        Neighbours(note=note.id, near=tuple(near(note.id, middles, MOST)), by="vectors")
        if note.id in middles
        else Neighbours(note=note.id, near=tuple(likeness.like(note.id, least=LEAST_LIKE)[:MOST]), by="words")
        for note in sorted(notes, key=lambda note: note.id)
    ]
