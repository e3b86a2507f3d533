"""Pages of what was indexed: notes with their neighbours, questions of customers, terms of the house."""

from collections.abc import Sequence

from blocks.checking.glossary import Term, explains
from blocks.checking.neighbours import Neighbours
from blocks.checking.questions import Group, best_by_rule
from blocks.embedding import Vectors
from blocks.reading.notes import Notes
from blocks.reading.tickets import Tickets
from blocks.writing.markdown import byline, cell, table
from governor.answers import Answer


def notes_page(read: Notes, vectors: Vectors, found: Sequence[Neighbours]) -> str:
    """Each note with its neighbours, and how they were found."""
    if vectors.missing:
        by = "This machine has no embedding model now; neighbours are by the words that notes share."
    else:
        by = f"Vectors by {vectors.model or 'no model'}; {vectors.waiting} notes wait for a later run."
    titles = {note.id: note.title for note in read.notes}
    near = [", ".join(f"{other} ({cosine:.2f})" for cosine, other in one.near) or "none" for one in found]
    rows: list[list[object]] = [
        [one.note, titles[one.note], text, one.by] for one, text in zip(found, near, strict=True)
    ]
    head = f"{len(read.notes)} notes, {len(vectors.by_note)} with vectors. {cell(by)}"
    shown = table(["note", "title", "near", "by"], rows)
    return "\n\n".join([head, shown, *_problems((*read.problems, *vectors.problems))])


def faq_page(read: Tickets, groups: Sequence[Group], top: Sequence[Group], answers: Sequence[Answer]) -> str:
    """A section a group: the question and the answer as they stand in tickets, and in which."""
    grouped = sum(len(one.tickets) for one in groups)
    parts = [f"{len(read.tickets)} tickets, {grouped} of them in {len(groups)} groups that ask the same."]
    for one, answer in zip(top, answers, strict=True):
        question = answer.data if answer.verified else best_by_rule(one)
        by = one.answered(question)
        said = f"> {cell(by.answer)} *(answer of {by.id})*" if by else "No answer yet."
        parts.append(f"## {cell(question)}\n\n{said}\n\nAsked in {', '.join(one.ids)}. *({byline(answer)})*")
    rest = [f"{', '.join(one.words)}: {', '.join(one.ids)}" for one in groups[len(top) :]]
    parts += ["## Further groups\n\n" + "\n".join(f"- {cell(line)}" for line in rest)] if rest else []
    return "\n\n".join([*parts, *_problems(read.problems)])


def glossary_page(read: Notes, terms: Sequence[Term], top: Sequence[Term], answers: Sequence[Answer]) -> str:
    """A line a term, explained by a sentence that stands in a note; then the terms that nothing explains."""
    lines = list[str]()
    for term, answer in sorted(zip(top, answers, strict=True), key=lambda pair: pair[0].name.lower()):
        said = answer.data if answer.verified else next(c for c in term.choices if explains(term.name, c))
        where = ", ".join(term.cites[:6])
        lines.append(f"- **{cell(term.name)}**: {cell(said)} Used in {cell(where)}. *({byline(answer)})*")
    unexplained = [f"{term.name} ({', '.join(term.cites[:2])})" for term in terms if not term.explained]
    parts = [f"{len(terms)} terms in {len(read.notes)} notes; {len(top)} are explained here.", "\n".join(lines)]
    parts += [f"Used, and explained nowhere: {cell('; '.join(unexplained[:20]))}."] if unexplained else []
    return "\n\n".join([*parts, *_problems(read.problems)])


def _problems(problems: Sequence[str]) -> list[str]:
    return ["Left out: " + cell("; ".join(problems[:10])) + "."] if problems else []
