"""prompt_agent: an agent that is only a prompt, asked about every item of any source. For whoever has no time to code.

The answer is one of given labels, fields that stand in the text, or a short prose of the text's own words.
"""

from typing import Self

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field, model_validator

from blocks.agent import CouldNot, agent
from blocks.checking.prompted import fields_rule, fields_schema, filled, prose_rule
from blocks.fitting import LEAST_TEXT_TOKENS, fitted, within_tokens
from blocks.parameters import AgentParameters
from blocks.reading.any_source import read_items
from blocks.reading.items import Item
from blocks.untrusted import as_data
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import table
from blocks.writing.prompted import left_out, prose_page, row_of
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

KINDS = (Kind.SUMMARISE, Kind.CLASSIFY, Kind.EXTRACT, Kind.WRITE)
LABEL_TOKENS = 24


class PromptAgentParameters(AgentParameters):
    """A source, a question about each of its items, and what an answer must be."""

    question: str = Field(
        min_length=8,
        max_length=4000,
        description="What is asked about each item. $title and $text stand for it; without them the text follows.",
    )
    kind: Kind = Field(default=Kind.SUMMARISE, description="Kind of work: summarise, write, classify or extract.")
    answers: dict[str, str] = Field(
        default_factory=dict, max_length=40, description="classify: label -> short phrase the model chooses among."
    )
    fields: dict[str, str] = Field(
        default_factory=dict, max_length=20, description="extract: name of a value -> what it is, in words."
    )
    least_characters: int = Field(default=20, ge=1, le=4000, description="Shortest prose that stands.")
    most_characters: int = Field(default=400, ge=20, le=8000, description="Longest prose that stands.")
    banned: list[str] = Field(default_factory=list, max_length=100, description="Phrases that must not be said.")
    faithful: bool = Field(default=True, description="Prose: numbers and most words must be those of the source.")
    text_characters: int = Field(
        default=1000, ge=100, le=12_000, description="How much of an item is shown; less where a context is too small."
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        if self.kind is Kind.CLASSIFY and len(set(self.answers.values())) < max(2, len(self.answers)):
            raise ValueError("classify needs `answers`: two labels or more, each with a phrase of its own")
        if self.kind is Kind.EXTRACT and not self.fields:
            raise ValueError("extract needs `fields`: name -> what it is")
        if self.least_characters > self.most_characters:
            raise ValueError("least_characters is more than most_characters")
        return self


@flow(name="prompt-agent", persist_result=False)
def prompt_agent(parameters: PromptAgentParameters) -> State:
    """Read -> ask the question about each item -> check by the kind's rule -> write the page and its rows."""
    with agent(parameters) as run:
        wanted = run.items(parameters.max_items)
        found = read_items(parameters.source, max_items=wanted, max_bytes=parameters.max_bytes)
        items = run.take(found.items)
        tokens = run.tokens(parameters.max_tokens)
        answers = run.ask_all([request(item, parameters, tokens) for item in items])
        if not any(answer.verified for answer in answers):
            raise CouldNot(
                "no answer passed its checks", facts=table(["id", "title"], [[i.id, i.title] for i in items])
            )
        columns = ["id", "title", *(parameters.fields if parameters.kind is Kind.EXTRACT else ["answer"]), "by"]
        labels = {phrase: label for label, phrase in parameters.answers.items()}
        rows = [row_of(i, a, labels, tuple(parameters.fields)) for i, a in zip(items, answers, strict=True)]
        is_prose = parameters.kind in (Kind.SUMMARISE, Kind.WRITE)
        passed = sum(answer.verified for answer in answers)
        head = f"{len(rows)} items, {passed} answered by a model.{left_out(found.problems)}"
        page = prose_page(items, rows) if is_prose else table(columns, rows)
        run.write(run.agent, f"{head}\n\n{page}", files={"rows.csv": csv_text(columns, rows)})
    return run.state


def request(item: Item, told: PromptAgentParameters, tokens: int) -> ModelRequest:
    """The question about one item, or about as much of it as fits, with the constraint and the rule of its kind."""
    title = within_tokens(as_data(item.title, 200), LEAST_TEXT_TOKENS)
    return fitted(lambda text: _about(title, text, told, tokens=tokens), as_data(item.text, told.text_characters))


def _about(title: str, text: str, told: PromptAgentParameters, *, tokens: int) -> ModelRequest:
    prompt, source = filled(told.question, title=title, text=text), f"{title}\n{text}"
    if told.kind is Kind.CLASSIFY:
        choices = tuple(told.answers.values())
        return ModelRequest(kind=told.kind, prompt=prompt, choices=choices, max_tokens=min(LABEL_TOKENS, tokens))
    if told.kind is Kind.EXTRACT:
        schema = fields_schema(told.fields)
        # Half an object is none: a first round's cap on tokens does not apply.
        most = max(tokens, told.max_tokens)
        return ModelRequest(
            kind=told.kind, prompt=prompt, json_schema=schema, max_tokens=most, verifier=fields_rule(source)
        )
    rule = prose_rule(
        source,
        least=told.least_characters,
        most=told.most_characters,
        banned=told.banned,
        is_faithful=told.faithful,
    )
    return ModelRequest(kind=told.kind, prompt=prompt, max_tokens=tokens, verifier=rule)
