"""Plans of what becomes of files: what is asked about each part of them, and what is written once that is answered.

A plan is pure. Translations are `blocks.translating`; reading, asking and writing is the flow's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from blocks.checking.drafts import each_sentence_from, no_loop
from blocks.checking.prose import Check, all_of, faithful
from blocks.checking.short_texts import alt_rule, description_rule, windows
from blocks.fitting import within_tokens
from blocks.reading.items import Item
from blocks.reading.markdown_parts import parts_of
from blocks.reading.page_images import pictures_of
from blocks.reading.texts import TextFile
from blocks.reading.transcripts import Spoken, parts_of_transcript
from blocks.untrusted import as_data
from blocks.writing.siblings import sibling_names
from blocks.writing.transformed import (
    Done,
    alt_done,
    alt_file,
    meta_done,
    meta_file,
    part_done,
    summary_file,
)
from governor.answers import Answer
from governor.policy.facts import Kind

# The beginning of a page says what it is about.
PAGE_CHARACTERS, PAGE_TOKENS = 600, 300
DESCRIPTION_PROMPT = "flows/prompts/transform_choose_description.md"
LIST_MARKS = "-*+>#| "

Siblings = dict[str, str]
Answers = Mapping[str, Answer]


@dataclass(frozen=True)
class Question:
    """One thing to ask. `prompt`: the task's or a name of its own; `words`: what else its placeholders stand for."""

    item: Item
    kind: Kind
    rule: Check
    choices: tuple[str, ...] = ()
    prompt: str = ""
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Questions in the order of their worth, what is asked about their answers, and what comes of all of them.

    `finish` gives the places for the page and the files to write.
    """

    questions: list[Question]
    then: Callable[[Answers], list[Question]] = field(kw_only=True, default=lambda _: [])
    finish: Callable[[Answers], tuple[list[Done], Siblings]]


def transcripts(files: Sequence[TextFile]) -> Plan:
    """A summary of each part of each transcript."""
    parts = {file.name: parts_of_transcript(file.name, file.text) for file in files}
    questions = [Question(p.item, Kind.SUMMARISE, summary_rule(p.item.text)) for of in parts.values() for p in of]
    names = sibling_names([name for name, of in parts.items() if of], ".summary.md")

    def finish(answers: Answers) -> tuple[list[Done], Siblings]:
        done: list[Done] = []
        siblings: Siblings = {}
        for name, sibling in names.items():
            asked: list[Spoken] = [part for part in parts[name] if part.item.id in answers]
            mine = [part_done(part, answers[part.item.id]) for part in asked]
            if mine:
                siblings[sibling] = summary_file(name, asked, mine, len(parts[name]) - len(mine))
            done += mine
        return done, siblings

    return Plan(questions, finish)


def summary_rule(text: str) -> Check:
    """Faithful as a whole and sentence by sentence."""
    return all_of(faithful(text), each_sentence_from(text, 0.6), no_loop)


def alt_texts(files: Sequence[TextFile]) -> Plan:
    """An alternative text for each image that has none and of which words are known."""
    pictures = {file.name: found for file in files if (found := pictures_of(file.name, file.text))}
    names = sibling_names(pictures, ".alt.json")
    open_ones = [p for of in pictures.values() for p in of if p.item.text and not p.is_described]
    questions = [Question(p.item, Kind.WRITE, alt_rule(p.item.text)) for p in open_ones]

    def finish(answers: Answers) -> tuple[list[Done], Siblings]:
        done: list[Done] = []
        siblings: Siblings = {}
        for name, of in pictures.items():
            mine = [alt_done(picture, answers.get(picture.item.id)) for picture in of]
            siblings[names[name]] = alt_file(of, mine)
            done += mine
        return done, siblings

    return Plan(questions, finish)


def seo_meta(files: Sequence[TextFile]) -> Plan:
    """Title and description of each page."""
    pages = [page for file in files if (page := _page(file)).text]
    names = sibling_names([page.id for page in pages], ".seo.json")
    questions = [_description(page) for page in pages]

    def finish(answers: Answers) -> tuple[list[Done], Siblings]:
        asked = [page for page in pages if page.id in answers]
        done = [meta_done(page.id, page.text, answers[page.id]) for page in asked]
        return done, {names[page.id]: meta_file(page.title, one) for page, one in zip(asked, done, strict=True)}

    return Plan(questions, finish)


def _description(page: Item) -> Question:
    """Which of the page's own sentences describe it; where it has no two that could, a model writes one."""
    choices, rule = windows(page.text), description_rule(page.text)
    if len(choices) < 2:
        return Question(page, Kind.WRITE, rule)
    return Question(page, Kind.CLASSIFY, rule, choices, prompt=DESCRIPTION_PROMPT)


def _page(file: TextFile) -> Item:
    """A page by its first heading and its first paragraphs of prose; images and marks are left out."""
    parts = parts_of(file.text)
    title = next((part.heading for part in parts if part.heading), file.name)
    lines = [line.strip(LIST_MARKS) for part in parts for line in part.text.splitlines() if "![" not in line]
    told = " ".join(line for line in lines if line and not line.startswith(("*", "_")))
    text = within_tokens(as_data(told, PAGE_CHARACTERS), PAGE_TOKENS)
    end = max(text.rfind(mark) for mark in (". ", "! ", "? "))
    whole = text if text[-1:] in ".!?" or end < 0 else text[: end + 1]
    return Item(id=file.name, title=as_data(title, 200), text=whole)
