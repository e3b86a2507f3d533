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
from blocks.reading.cut import whole_rows
from blocks.reading.items import Item
from blocks.reading.places import locate
from blocks.reading.prompts import read_prompt
from blocks.reading.texts import TextFile, read_texts
from blocks.transforming import Plan, Question, alt_texts, seo_meta, transcripts
from blocks.translating import translation
from blocks.untrusted import visible
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import table
from blocks.writing.safe_markdown import tame
from blocks.writing.siblings import left_behind, tame_sibling
from blocks.writing.transformed import summary
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
        files = read_texts(parameters.source, SUFFIXES[parameters.task], max_bytes=parameters.max_bytes)
        plan = _plan(run, parameters, files)
        questions = _taken(run, parameters, plan.questions)
        answers = _answers(run, parameters, questions)
        answers |= _answers(run, parameters, plan.then(answers))
        done, siblings = plan.finish(answers)
        rows: list[list[object]] = [[one.place, one.text, one.by] for one in done]
        columns = ["place", "text", "by"]
        if not any(one.text for one in done):
            raise CouldNot("nothing passed its checks; every file stays as it is", facts=table(columns, rows[:50]))
        head = summary(done, files=len(siblings), later=len(plan.questions) - len(questions))
        soften = tame_sibling if parameters.task is Task.TRANSLATE else tame
        pages = {n: soften(t, links=run.links) if n.endswith(".md") else t for n, t in siblings.items()}
        gone = left_behind(run.folder, locate(parameters.source), written=pages.keys())
        run.write(run.agent, f"{head}\n\n{table(columns, rows)}", files={**pages, "rows.csv": csv_text(columns, rows)})
        for path in gone:
            path.unlink(missing_ok=True)
    return run.state


def _plan(run: Run, told: TransformParameters, files: list[TextFile]) -> Plan:
    """What is asked about the files, which stand in the provenance beside the parts that are asked for."""
    for file in files:
        run.saw(file.name, Item(id=file.name, title="", text=file.text).sha256, text=file.text)
    if told.task is Task.TRANSLATE:
        terms = read_terms(whole_rows(told.glossary, max_bytes=told.max_bytes)) if told.glossary else []
        return translation(files, terms, into=told.language, out_of=told.written_in)
    return {Task.TRANSCRIPTS: transcripts, Task.ALT_TEXT: alt_texts, Task.SEO_META: seo_meta}[told.task](files)


def _taken(run: Run, told: TransformParameters, questions: list[Question]) -> list[Question]:
    """What was answered at earlier runs, and as many new questions as the run's cap allows; in their order."""
    is_known = run.are_known(_requests(run, told, questions))
    new = [index for index, known in enumerate(is_known) if not known]
    taken = set(new[: len(run.take([questions[index].item for index in new]))])
    for question, known in zip(questions, is_known, strict=True):
        if known:
            run.saw(question.item.id, question.item.sha256, text=question.item.text)
    return [question for index, question in enumerate(questions) if is_known[index] or index in taken]


def _answers(run: Run, told: TransformParameters, questions: list[Question]) -> dict[str, Answer]:
    """Answers by the ids of their items: one batch for each kind of work."""
    answers: dict[str, Answer] = {}
    for kind in dict.fromkeys(question.kind for question in questions):
        batch = [question for question in questions if question.kind is kind]
        asked = run.ask_all(_requests(run, told, batch))
        answers |= {one.item.id: answer for one, answer in zip(batch, asked, strict=True)}
    return answers


def _requests(run: Run, told: TransformParameters, questions: list[Question]) -> list[ModelRequest]:
    """A request for each question; what comes from outside is made visible in it, line by line."""
    own_prompt = told.prompt_file or f"flows/prompts/transform_{told.task.replace('-', '_')}.md"
    names = dict.fromkeys(question.prompt or own_prompt for question in questions)
    prompts = {name: read_prompt(name) for name in names}
    tokens = run.tokens(told.max_tokens)
    requests = []
    for one in questions:
        words = {"title": one.item.title, "text": one.item.text, **one.words}
        prompt = prompts[one.prompt or own_prompt].safe_substitute({n: visible(said) for n, said in words.items()})
        choices = one.choices or None
        requests.append(
            ModelRequest(kind=one.kind, prompt=prompt, choices=choices, max_tokens=tokens, verifier=one.rule)
        )
    return requests
