"""transform: sibling files for a folder: translations, summaries of transcripts, alternative texts, meta data.

For whoever keeps a site or a project. The sources stay as they are, and so does what passed no check.
"""

from enum import StrEnum
from typing import Self

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field, model_validator

from blocks.agent import CouldNot, Run, agent
from blocks.checking.translations import Language, read_terms
from blocks.parameters import AgentParameters
from blocks.reading.items import Item
from blocks.reading.prompts import read_prompt
from blocks.reading.rows import read_rows
from blocks.reading.texts import TextFile, read_texts
from blocks.transforming import Plan, Question, alt_texts, seo_meta, transcripts
from blocks.translating import translation
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import table
from blocks.writing.safe_markdown import tame
from governor.answers import Answer
from governor.policy.requests import ModelRequest


class Task(StrEnum):
    """What becomes of the files."""

    TRANSLATE = "translate"
    TRANSCRIPTS = "transcripts"
    ALT_TEXT = "alt-text"
    SEO_META = "seo-meta"


SUFFIXES = {
    Task.TRANSLATE: frozenset({".md", ".json"}),
    Task.TRANSCRIPTS: frozenset({".txt", ".vtt", ".md"}),
    Task.ALT_TEXT: frozenset({".md"}),
    Task.SEO_META: frozenset({".md"}),
}


class TransformParameters(AgentParameters):
    """A folder, and what to make of its files."""

    task: Task = Field(description="What is made of each file.")
    language: Language = Field(default=Language.GERMAN, description="translate: into which language.")
    written_in: Language = Field(default=Language.ENGLISH, description="translate: the language of the files.")
    glossary: str = Field(default="", description="translate: CSV with source, target and use.")
    prompt_file: str = Field(default="", description="Another prompt than the task's own.")

    @model_validator(mode="after")
    def _is_another_language(self) -> Self:
        if self.task is Task.TRANSLATE and self.language is self.written_in:
            raise ValueError("language and written_in are the same")
        return self


@flow(name="transform", persist_result=False)
def transform(parameters: TransformParameters) -> State:
    """Read -> ask for each block, part, image or page -> check -> write the siblings."""
    with agent(parameters) as run:
        files = read_texts(parameters.source, SUFFIXES[parameters.task])
        plan = _plan(run, parameters, files)
        questions = plan.questions[: len(run.take([question.item for question in plan.questions]))]
        answers = _answers(run, parameters, questions)
        answers |= _answers(run, parameters, plan.then(answers))
        done, siblings = plan.finish(answers)
        rows: list[list[object]] = [[one.place, one.text, one.by] for one in done]
        columns = ["place", "text", "by"]
        if not any(one.text for one in done):
            raise CouldNot("nothing passed its checks; every file stays as it is", facts=table(columns, rows[:50]))
        passed, left = sum(one.is_model for one in done), len(plan.questions) - len(questions)
        later = f" {left} more were left for a later run." if left else ""
        head = f"{len(siblings)} files, {len(rows)} places, {passed} in a model's words.{later}\n\n"
        siblings = {n: tame(t, links=run.links) if n.endswith(".summary.md") else t for n, t in siblings.items()}
        run.write(run.agent, head + table(columns, rows), files={**siblings, "rows.csv": csv_text(columns, rows)})
    return run.state


def _plan(run: Run, told: TransformParameters, files: list[TextFile]) -> Plan:
    """What is asked about the files, which stand in the provenance beside the parts that are asked for."""
    for file in files:
        run.saw(file.name, Item(id=file.name, title="", text=file.text).sha256, text=file.text)
    if told.task is Task.TRANSLATE:
        terms = read_terms(read_rows(told.glossary, max_bytes=told.max_bytes)) if told.glossary else []
        return translation(files, terms, into=told.language, out_of=told.written_in)
    return {Task.TRANSCRIPTS: transcripts, Task.ALT_TEXT: alt_texts, Task.SEO_META: seo_meta}[told.task](files)


def _answers(run: Run, told: TransformParameters, questions: list[Question]) -> dict[str, Answer]:
    """Answers by the ids of their items: one batch for each kind of work."""
    own_prompt = told.prompt_file or f"flows/prompts/transform_{told.task.replace('-', '_')}.md"
    answers: dict[str, Answer] = {}
    for kind in dict.fromkeys(question.kind for question in questions):
        batch = [question for question in questions if question.kind is kind]
        requests = [
            ModelRequest(
                kind=kind,
                prompt=read_prompt(one.prompt or own_prompt).safe_substitute(
                    {"title": one.item.title, "text": one.item.text, **one.words}
                ),
                choices=one.choices or None,
                max_tokens=run.tokens(told.max_tokens),
                verifier=one.rule,
            )
            for one in batch
        ]
        answers |= {one.item.id: answer for one, answer in zip(batch, run.ask_all(requests), strict=True)}
    return answers
