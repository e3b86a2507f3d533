"""Vectors of notes: those that an earlier run made are kept while a note is the same; the rest is asked for.

A machine without an embedding model is no failure: then there are no vectors, and what needs them does without.
"""

from dataclasses import dataclass, field

from blocks.checking.vectors import problem_of, unit
from blocks.reading.notes import Note
from blocks.run import Run
from blocks.writing.note_index import Embedded, read_index
from blocks.writing.outputs import sha256_of
from governor.errors import DoesNotFit
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest


@dataclass
class Vectors:
    """What there is now.

    Attributes:
        model: that made them, '' for none. kept: how many notes were not asked for, asked: how many were.
        waiting: notes for a later run, beyond the cap. problems: vectors that were refused, by note.
        missing: why there is no embedding model, '' where there is one.
    """

    model: str = ""
    by_note: dict[str, Embedded] = field(default_factory=dict)
    kept: int = 0
    asked: int = 0
    waiting: int = 0
    problems: list[str] = field(default_factory=list)
    missing: str = ""


def embed(run: Run, notes: list[Note], *, most: int) -> Vectors:
    """Vectors of as many notes as there are, `most` of them new ones.

    Raises:
        LeftLine, ...: the embedding model is there and was not to be had now; the agent skips.
    """
    model, earlier = read_index(run.folder)
    known = {note.id: earlier[note.id] for note in notes if note.id in earlier and earlier[note.id].is_of(note)}
    fresh = [note for note in notes if note.id not in known]
    found = Vectors(model=model if known else "", by_note=dict(known), waiting=max(0, len(fresh) - most))
    asked = fresh[:most]
    try:
        answers = run.ask_all([_request(note) for note in asked]) if asked else []
    except DoesNotFit as error:
        found.missing, found.waiting, found.kept = error.happened, 0, len(known)
        return found
    found.asked = len(asked)
    for note, answer in zip(asked, answers, strict=True):
        if answer.failed or not answer.verified:
            found.problems.append(f"{note.id}: {'; '.join(answer.problems)[:100]}")
            continue
        if answer.model != found.model:  # vectors of two models cannot be compared: the earlier ones go
            found.model, found.by_note = answer.model, {}
        _add(found, note, answer.data)
    found.kept = sum(name in known for name in found.by_note)
    return found


def _add(found: Vectors, note: Note, vectors: object) -> None:
    width = next((len(one.vectors[0]) for one in found.by_note.values()), None)
    problem = problem_of(vectors, wanted=len(note.chunks), width=width)
    if problem or not isinstance(vectors, list):
        found.problems.append(f"{note.id}: {problem}")
        return
    found.by_note[note.id] = Embedded(sha256=sha256_of(note.chunks), vectors=[unit(vector) for vector in vectors])


def _request(note: Note) -> ModelRequest:
    return ModelRequest(
        kind=Kind.EMBED,
        prompt=f"the passages of {note.id}",
        inputs={str(number): chunk for number, chunk in enumerate(note.chunks)},
    )
