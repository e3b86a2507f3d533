"""draft: posts, letters, product texts, answers and replies as drafts, for whoever sends them. Nothing is ever sent.

Code plans the pieces and puts them together; a model writes one short part of each, in the words of the notes.
"""

from string import Template
from typing import Self

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field, model_validator

from blocks.agent import CouldNot, Run, agent
from blocks.checking.drafts import MOST_SIMILAR, RULES, Form, note_rule, piece_rule, sayable, similarity
from blocks.parameters import AgentParameters
from blocks.reading.any_source import read_items
from blocks.reading.items import Item
from blocks.reading.outlines import Style, read_notes, read_outline, read_style
from blocks.reading.pieces import (
    Piece,
    answer_pieces,
    product_pieces,
    reply_pieces,
    section_pieces,
)
from blocks.reading.prompts import read_prompt
from blocks.reading.rows import read_rows
from blocks.untrusted import as_data
from blocks.writing.drafts import (
    NOT_YET,
    Written,
    body,
    earlier_drafts,
    front_matter,
    headings_of,
    overview,
    written,
)
from blocks.writing.safe_markdown import tame
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

OUTLINED = (Form.BLOG, Form.SOCIAL, Form.NEWSLETTER)
PROMPTS = {
    Form.PRODUCT_COPY: "flows/prompts/draft_product.md",
    Form.FAQ_ANSWERS: "flows/prompts/draft_choice.md",
    Form.REPLIES: "flows/prompts/draft_reply.md",
}
SECTION_PROMPT = "flows/prompts/draft_section.md"


class DraftParameters(AgentParameters):
    """What to draft, and from what: `source` is the outline, the facts, the questions or the mails."""

    form: Form = Field(description="What is drafted; each form has its own length, headings and rules.")
    notes: str = Field(default="", description="File or folder (.md, .txt) that words and numbers are taken from.")
    style_file: str = Field(default="", description="YAML: voice, reader, banned, links, signature, ending.")
    template_file: str = Field(default="", description="replies: the mail, with $subject and $said in it.")
    prompt_file: str = Field(default="", description="Another prompt than the form's own.")
    last_drafts: int = Field(default=5, ge=0, le=50, description="How many earlier drafts it must not repeat.")

    @model_validator(mode="after")
    def _has_what_its_form_needs(self) -> Self:
        if self.form in (*OUTLINED, Form.FAQ_ANSWERS) and not self.notes:
            raise ValueError(f"{self.form} needs `notes`: a file or folder to take words from")
        if self.form is Form.REPLIES and not self.template_file:
            raise ValueError("replies needs `template_file`")
        return self


@flow(name="draft", persist_result=False)
def draft(parameters: DraftParameters) -> State:
    """Read -> plan the pieces -> a model's part of each -> check each and the whole -> write the draft."""
    with agent(parameters) as run:
        style = _style(run, parameters)
        earlier = earlier_drafts(run.folder, before=run.day, most=parameters.last_drafts)
        title, pieces = _plan(run, parameters, headings_of(earlier))
        done = _written(run, parameters, style, pieces)
        text = body(title, done, "\n\n".join(filter(None, (style.ending, style.signature))))
        facts = overview(done, "")
        if not any(piece.is_model for piece in done):
            raise CouldNot("no piece of the draft passed its checks", facts=facts)
        day, like = max(((day, similarity(text, old)) for day, old in earlier), key=lambda e: e[1], default=("", 0.0))
        if RULES[parameters.form].is_new and like > MOST_SIMILAR:
            raise CouldNot(f"the draft would repeat that of {day} ({like:.0%} of it)", facts=facts)
        note = f"Like the draft of {day} to {like:.0%}; more than {MOST_SIMILAR:.0%} is refused." if day else ""
        due = f"{run.day} {parameters.due}" if parameters.due else ""
        whole = front_matter(title, parameters.form, due, done) + "\n" + tame(text, links=run.links)
        run.write(title, f"{overview(done, note)}\n\n{text}", files={f"draft-{run.day}.md": whole})
    return run.state


def _style(run: Run, told: DraftParameters) -> Style:
    if not told.style_file:
        return Style()
    style = read_style(told.style_file)
    run.saw(
        told.style_file, Item(id="style", title="", text=style.model_dump_json()).sha256, text=" ".join(style.links)
    )
    return style


def _plan(run: Run, told: DraftParameters, drafted: set[str]) -> tuple[str, list[Piece]]:
    """The title and the pieces, as far as this run goes; what is past its cap has no text and is not asked for."""
    wanted = run.items(told.max_items)
    if told.form in OUTLINED:
        outline, notes = read_outline(told.source), read_notes(told.notes)
        is_new = told.form is not Form.SOCIAL
        sections = [section for section in outline.sections if is_new or section.title not in drafted]
        if not sections:
            raise CouldNot("every post of the outline was drafted on an earlier day")
        pieces = section_pieces(sections, notes)
        return outline.title, pieces if told.form is not Form.SOCIAL else pieces[:wanted]
    if told.form is Form.PRODUCT_COPY:
        return "Product copy", product_pieces(read_rows(told.source, max_bytes=told.max_bytes))[:wanted]
    items = read_items(told.source, max_items=wanted, max_bytes=told.max_bytes)
    if told.form is Form.REPLIES:
        return "Replies", reply_pieces(items, read_prompt(told.template_file).template)
    return "Answers", answer_pieces(items, read_notes(told.notes))


def _written(run: Run, told: DraftParameters, style: Style, pieces: list[Piece]) -> list[Written]:
    """Every piece as it stands in the draft; those past the cap and those without notes say so."""
    if told.form is Form.REPLIES:
        pieces = [piece.model_copy(update={"choices": sayable(piece, style)}) for piece in pieces]
    open_pieces = [piece for piece in pieces if piece.item.text]
    taken = open_pieces[: len(run.take([piece.item for piece in open_pieces]))]
    prompt = read_prompt(told.prompt_file or PROMPTS.get(told.form, SECTION_PROMPT))
    asked = [piece for piece in taken if told.form is not Form.REPLIES or len(piece.choices) > 1]
    requests = [
        _request(piece, prompt, told, style).model_copy(update={"max_tokens": run.tokens(told.max_tokens)})
        for piece in asked
    ]
    for note in {note.id: note for piece in asked for note in piece.notes}.values():
        run.saw(note.id, note.sha256, text=note.text)
    answers = {piece.item.id: answer for piece, answer in zip(asked, run.ask_all(requests), strict=True)}
    late = {piece.item.id for piece in open_pieces[len(taken) :]}
    done = [written(told.form, piece, answers.get(piece.item.id)) for piece in pieces]
    return [
        Written(heading=one.heading, text=NOT_YET, by="nobody") if piece.item.id in late else one
        for one, piece in zip(done, pieces, strict=True)
    ]


def _request(piece: Piece, prompt: Template, told: DraftParameters, style: Style) -> ModelRequest:
    """One part: words of its own under the form's rules, or one of the mail's sentences."""
    words = prompt.safe_substitute(
        title=as_data(piece.item.title, 200), text=piece.item.text, brief=piece.brief, voice=style.voice
    )
    is_answer = told.form is Form.FAQ_ANSWERS
    rule = note_rule(piece) if is_answer else piece_rule(told.form, piece, style)
    kind = Kind.CLASSIFY if piece.choices else Kind.WRITE
    return ModelRequest(kind=kind, prompt=words, choices=piece.choices or None, verifier=rule)
