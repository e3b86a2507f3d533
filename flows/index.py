"""index: where things are said, for whoever looks for them: notes by what they are about, questions that customers ask,
the words of the house. Groups, terms and neighbours are code's; a model gives vectors, or chooses among sentences."""

from enum import StrEnum

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks.agent import CouldNot, Run, agent
from blocks.checking.glossary import explanation_of, terms_of
from blocks.checking.neighbours import neighbours
from blocks.checking.questions import asks_about, group
from blocks.embedding import embed
from blocks.parameters import AgentParameters
from blocks.reading.notes import Notes, read_notes
from blocks.reading.prompts import read_prompt
from blocks.reading.tickets import read_tickets
from blocks.writing.csv_files import csv_text
from blocks.writing.index_pages import faq_page, glossary_page, notes_page
from blocks.writing.note_index import FILE, index_bytes
from blocks.writing.outputs import sha256_of
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest, Verifier

# The longest sentence to choose has 240 characters; a cut one would be none of the choices.
CHOICE_TOKENS = 96


class Index(StrEnum):
    """What is made."""

    NOTES = "notes"
    FAQ = "faq"
    GLOSSARY = "glossary"


class IndexParameters(AgentParameters):
    """What to index. `max_items` is how many notes are embedded, questions or terms worked on in one run."""

    index: Index = Field(description="notes: vectors and neighbours; faq: from tickets; glossary: from notes.")
    prompt_file: str = Field(default="flows/prompts/index.md", description="How a sentence is chosen (not for notes).")


@flow(name="index", persist_result=False)
def index(parameters: IndexParameters) -> State:
    """Read -> find (code) -> vectors, or sentences chosen by a model -> check -> write."""
    with agent(parameters) as run:
        if parameters.index is Index.NOTES:
            _notes(run, parameters)
        elif parameters.index is Index.FAQ:
            _faq(run, parameters)
        else:
            _glossary(run, parameters)
    return run.state


def _notes(run: Run, parameters: IndexParameters) -> None:
    read = _saw_notes(run, parameters)
    vectors = embed(run, list(read.notes), most=run.items(parameters.max_items))
    found = neighbours(read.notes, {name: known.vectors for name, known in vectors.by_note.items()})
    data = index_bytes(read.notes, vectors.by_note, vectors.model)
    rows = [[one.note, other, likeness, one.by] for one in found for likeness, other in one.near]
    files = {FILE: data, "neighbours.csv": csv_text(["note", "near", "cosine", "by"], rows)}
    run.write(f"Notes: {run.agent}", notes_page(read, vectors, found), files=files)


def _faq(run: Run, parameters: IndexParameters) -> None:
    read = read_tickets(parameters.source, max_bytes=parameters.max_bytes)
    run.saw(parameters.source, sha256_of([ticket.model_dump() for ticket in read.tickets]))
    groups = group(read.tickets)
    if not groups:
        raise CouldNot(f"no two of {len(read.tickets)} tickets ask the same")
    top = groups[: run.items(parameters.max_items)]
    question = "What do customers ask about {}?"
    asked = [choose(parameters, question.format(one.words[0]), one.choices, asks_about(one.words)) for one in top]
    answers = run.ask_all(asked)
    run.write(f"Questions: {run.agent}", faq_page(read, groups, top, answers))


def _glossary(run: Run, parameters: IndexParameters) -> None:
    read = _saw_notes(run, parameters)
    terms = terms_of(read.notes)
    if not terms:
        raise CouldNot(f"no term is used twice in {len(read.notes)} notes")
    top = [term for term in terms if term.explained][: run.items(parameters.max_items)]
    asked = [choose(parameters, f"What is {one.name}?", one.choices, explanation_of(one.name)) for one in top]
    answers = run.ask_all(asked) if asked else []
    run.write(f"Glossary: {run.agent}", glossary_page(read, terms, top, answers))


def _saw_notes(run: Run, parameters: IndexParameters) -> Notes:
    read = read_notes(parameters.source, max_bytes=parameters.max_bytes)
    for note in read.notes:
        run.saw(note.id, note.sha256)
    return read


def choose(parameters: IndexParameters, question: str, choices: tuple[str, ...], rule: Verifier) -> ModelRequest:
    """Which of these sentences; the answer is one of them, word for word."""
    listed = "\n".join(f"- {choice}" for choice in choices)
    prompt = read_prompt(parameters.prompt_file).safe_substitute(question=question, sentences=listed)
    return ModelRequest(kind=Kind.CLASSIFY, prompt=prompt, choices=choices, max_tokens=CHOICE_TOKENS, verifier=rule)
