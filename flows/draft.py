"""draft: posts, letters, product texts, answers and replies as drafts, for whoever sends them. Nothing is ever sent.

Code plans the pieces and puts them together; a model writes one short part of each, in the words of the notes.
"""

from string import Template
from typing import Self

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field, model_validator

from blocks.agent import CouldNot, Run, agent
from blocks.checking.drafts import MOST_SIMILAR, RULES, Form, nearest_draft, note_rule, piece_rule, sayable
from blocks.fitting import fitted, within_tokens
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
from blocks.untrusted import as_data, seen
from blocks.writing.drafts import (
    BY_NOBODY,
    NOT_YET,
    Written,
    body,
    drafted,
    earlier_drafts,
    free_name,
    front_matter,
    overview,
    plain_name,
    written,
)
from blocks.writing.markdown import cell, escaped
from blocks.writing.prompted import left_out
from blocks.writing.safe_markdown import tame
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest

OUTLINED = (Form.BLOG, Form.SOCIAL, Form.NEWSLETTER)
# A letter is new as a whole; of posts each one is.
WHOLE = [form for form, rules in RULES.items() if rules.is_new and form is not Form.SOCIAL]
# Sections that are tried for each post that is wanted; and how many of those passed over the page names.
TRIES, MOST_NAMED = 3, 12
VOICE_TOKENS = 100
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
        title, pieces, unread = _plan(run, parameters)
        if parameters.form is Form.SOCIAL:
            done, note = _posts(run, parameters, style, pieces=pieces, earlier=earlier)
        else:
            done, note = _written(run, parameters, style, pieces), unread
        if not any(piece.is_sound for piece in done):
            why = "no piece passed its checks, and none can be written by rules alone"
            raise CouldNot(why, facts=overview(done, note))
        text = body(title, done, "\n\n".join(filter(None, (style.ending, style.signature))))
        day, like = nearest_draft(text, earlier)
        if parameters.form in WHOLE and like > MOST_SIMILAR:
            why = f"the draft would repeat that of {day} ({like:.0%} of it)"
            raise CouldNot(why, facts=overview(done, note))
        said = f"Like the draft of {day} to {like:.0%}; more than {MOST_SIMILAR:.0%} is refused." if day else ""
        due = f"{run.due_at:%Y-%m-%d %H:%M}" if run.due_at else ""
        whole = seen(front_matter(title, parameters.form, due, done) + "\n" + tame(text, links=run.links))
        name = free_name(run.folder, run.day, whole)
        kept = "" if name == f"draft-{run.day}.md" else f"The draft of today was changed by hand; this one is {name}."
        told = " ".join(filter(None, (said, note, kept)))
        run.write(title, f"{overview(done, told)}\n\n{text}", files={name: whole})
    return run.state


def _style(run: Run, told: DraftParameters) -> Style:
    if not told.style_file:
        return Style()
    style = read_style(told.style_file)
    run.saw(
        told.style_file, Item(id="style", title="", text=style.model_dump_json()).sha256, text=" ".join(style.links)
    )
    return style


def _plan(run: Run, told: DraftParameters) -> tuple[str, list[Piece], str]:
    """The title, the pieces, and what of the source is not among them."""
    wanted, most = run.items(told.max_items), told.max_bytes
    if told.form in OUTLINED:
        outline, sections = read_outline(told.source, max_bytes=most), list[Item]()
        done = drafted(run.folder, before=run.day) if told.form is Form.SOCIAL else set[str]()
        sections = [one for one in outline.sections if done.isdisjoint({plain_name(one.title), cell(one.title)})]
        if not sections:
            raise CouldNot("every post of the outline was drafted on an earlier day")
        return outline.title, section_pieces(sections, read_notes(told.notes, max_bytes=most)), ""
    if told.form is Form.PRODUCT_COPY:
        rows = [row for row in read_rows(told.source, max_bytes=most) if any(row.values())]
        left = len(rows) - wanted
        return "Product copy", product_pieces(rows[:wanted]), f"{left} more rows are left out." if left > 0 else ""
    found = read_items(told.source, max_items=wanted, max_bytes=most)
    items, unread = found.items, left_out(found.problems).strip()
    if told.form is Form.REPLIES:
        return "Replies", reply_pieces(items, read_prompt(told.template_file).template), unread
    return "Answers", answer_pieces(items, read_notes(told.notes, max_bytes=most)), unread


def _posts(
    run: Run, told: DraftParameters, style: Style, *, pieces: list[Piece], earlier: list[tuple[str, str]]
) -> tuple[list[Written], str]:
    """As many posts as are wanted, of the first sections that can be drafted; which ones were passed over, and why."""
    wanted, kept = run.items(told.max_items), list[Written]()
    passed_over = {piece.item.title: "no note speaks of it" for piece in pieces if not piece.item.text}
    open_pieces, tries = [piece for piece in pieces if piece.item.text], wanted * (1 if run.capped else TRIES)
    # What was answered at an earlier run costs no try: a section that never passes must not hide those after it.
    while open_pieces and len(kept) < wanted and tries > 0:
        batch, open_pieces = open_pieces[: wanted - len(kept)], open_pieces[wanted - len(kept) :]
        remembered = run.remembered_calls
        for piece, one in zip(batch, _written(run, told, style, batch), strict=True):
            day, like = nearest_draft(one.text, earlier)
            if not one.is_model:
                passed_over[piece.item.title] = "its text passed no check"
            elif like > MOST_SIMILAR:
                passed_over[piece.item.title] = f"too like the draft of {day}"
            else:
                kept.append(one)
        tries -= len(batch) - (run.remembered_calls - remembered)
    listed = "; ".join(f"{escaped(title)} ({why})" for title, why in list(passed_over.items())[:MOST_NAMED])
    return kept, f"Passed over: {listed}." if listed else ""


def _written(run: Run, told: DraftParameters, style: Style, pieces: list[Piece]) -> list[Written]:
    """Every piece as it stands in the draft; those past the cap and those without notes say so."""
    if told.form is Form.REPLIES:
        pieces = [piece.model_copy(update={"choices": sayable(piece, style)}) for piece in pieces]
    open_pieces = [piece for piece in pieces if piece.item.text]
    taken = open_pieces[: len(run.take([piece.item for piece in open_pieces]))]
    prompt = read_prompt(told.prompt_file or PROMPTS.get(told.form, SECTION_PROMPT))
    asked = [piece for piece in taken if told.form is not Form.REPLIES or len(piece.choices) > 1]
    tokens = run.tokens(told.max_tokens)
    requests = [_request(piece, prompt, told, style=style, tokens=tokens) for piece in asked]
    for note in {note.id: note for piece in asked for note in piece.notes}.values():
        run.saw(note.id, note.sha256, text=note.text)
    answers = {piece.item.id: answer for piece, answer in zip(asked, run.ask_all(requests), strict=True)}
    late = {piece.item.id for piece in open_pieces[len(taken) :]}
    done = [written(told.form, piece, answers.get(piece.item.id)) for piece in pieces]
    return [
        one.model_copy(update={"text": NOT_YET, "by": BY_NOBODY, "is_sound": False}) if piece.item.id in late else one
        for one, piece in zip(done, pieces, strict=True)
    ]


def _request(piece: Piece, prompt: Template, told: DraftParameters, *, style: Style, tokens: int) -> ModelRequest:
    """One part: words of its own under the form's rules, or one of the mail's sentences."""
    title, voice = as_data(piece.item.title, 200), within_tokens(style.voice, VOICE_TOKENS)
    rule = note_rule(piece) if told.form is Form.FAQ_ANSWERS else piece_rule(told.form, piece, style)
    kind, choices = (Kind.CLASSIFY, piece.choices) if piece.choices else (Kind.WRITE, None)

    def about(text: str) -> ModelRequest:
        words = prompt.safe_substitute(title=title, text=text, brief=piece.brief, voice=voice)
        return ModelRequest(kind=kind, prompt=words, choices=choices, verifier=rule, max_tokens=tokens)

    return fitted(about, piece.item.text)
