"""The plan of a translation: strings chosen among a glossary's own wordings, blocks written by a model. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from blocks.checking.translations import (
    NAMES,
    Language,
    Term,
    back_rule,
    block_rule,
    candidates,
    exact,
    masked,
    terms_in,
    translation_rule,
    use_rule,
)
from blocks.fitting import SHOWN_TOKENS, within_tokens
from blocks.reading.items import Item
from blocks.reading.texts import TextFile
from blocks.reading.translatable import Unit, block_units, string_units
from blocks.transforming import Answers, Plan, Question, Siblings
from blocks.writing.siblings import sibling_names
from blocks.writing.transformed import Done, block_done, translated
from governor.errors import BadInput
from governor.policy.facts import Kind

CHOOSE, BACK_PROMPT = "flows/prompts/transform_choose.md", "flows/prompts/transform_back.md"
BACK = " (back)"
NOT_TRANSLATED = "not translated"
# Room in a prompt for a key, and for the terms of a glossary.
KEY_TOKENS, TERM_TOKENS = 100, 300


@dataclass
class _Work:
    """One translation: its units by file, what the glossary decided, what is asked, and which tokens stand for what."""

    glossary: Sequence[Term]
    into: Language
    out_of: Language
    files: list[TextFile] = field(default_factory=list)
    units: dict[str, list[Unit]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    known: dict[str, Done] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    spans: dict[str, list[str]] = field(default_factory=dict)

    @property
    def all_units(self) -> list[Unit]:
        return [unit for of in self.units.values() for unit in of]


def translation(files: Sequence[TextFile], glossary: Sequence[Term], *, into: Language, out_of: Language) -> Plan:
    """Every string and block of the files; the short ones, which a glossary helps with, come first.

    Raises:
        BadInput: none of the files can be translated.
    """
    work = _Work(glossary, into, out_of)
    _read(work, files)
    for unit in sorted(work.all_units, key=lambda unit: not unit.key):
        if unit.key and (target := exact(unit.item, glossary)):
            work.known[unit.item.id] = Done(place=unit.item.id, text=target, by="the glossary")
            continue
        question = _choice(work, unit) if unit.key else None
        work.questions.append(question or _block(work, unit))
    return Plan(work.questions, lambda answers: _finish(work, answers), then=lambda answers: _back(work, answers))


def _read(work: _Work, files: Sequence[TextFile]) -> None:
    """The units of each file; one that cannot be translated as a whole is named, and the others go on."""
    refused: BadInput | None = None
    for file in files:
        if file.is_cut:
            work.left_out[file.name] = "it is too long"
            continue
        try:
            work.units[file.name] = (string_units if _is_strings(file) else block_units)(file.name, file.text)
            work.files.append(file)
        except BadInput as error:
            refused = error
            work.left_out[file.name] = "it is no flat JSON object of strings"
    if refused is not None and not work.files:
        raise refused


def _is_strings(file: TextFile) -> bool:
    return file.name.endswith(".json")


def _back(work: _Work, answers: Answers) -> list[Question]:
    """What passed its rules is translated back; only then something is known of its meaning."""
    return [
        Question(
            Item(id=unit.item.id + BACK, title="", text=answers[unit.item.id].text.strip()),
            Kind.TRANSLATE,
            back_rule(unit.item.text),
            prompt=BACK_PROMPT,
            words={"language": NAMES[work.out_of]},
        )
        for unit in work.all_units
        if unit.item.id in work.spans and unit.item.id in answers and answers[unit.item.id].verified
    ]


def _finish(work: _Work, answers: Answers) -> tuple[list[Done], Siblings]:
    """Every place in the order of the files, and a sibling for each file that can have one."""
    done = dict(work.known)
    for unit in work.all_units:
        place = unit.item.id
        answer, back = answers.get(place), answers.get(place + BACK)
        if answer and answer.verified and (place not in work.spans or (back and back.verified)):
            done[place] = block_done(unit, answer, work.spans.get(place, []))
    names: dict[str, str] = {}
    for ending, is_strings in ((".md", False), (".json", True)):
        of_it = [file.name for file in work.files if _is_strings(file) == is_strings]
        names |= sibling_names(of_it, f".{work.into}{ending}")
    siblings = {names[f.name]: translated(f.name, f.text, work.units[f.name], done) for f in work.files}
    rows = [done.get(u.item.id, Done(place=u.item.id, text="", by=NOT_TRANSLATED)) for u in work.all_units]
    refused = [Done(place=name, text="", by=f"left out: {why}") for name, why in work.left_out.items()]
    return [*rows, *refused], siblings


def _choice(work: _Work, unit: Unit) -> Question | None:
    """Which of the glossary's wordings a string is; None where it has less than two that could be."""
    rule = translation_rule(unit.item.text, [], into=work.into, out_of=work.out_of)
    fitting = [term for term in candidates(unit.item.text, work.glossary) if not rule(term.target)]
    if len(fitting) < 2:
        return None
    uses = "; ".join(f"{term.target} ({term.use})" if term.use else term.target for term in fitting)
    key = within_tokens(unit.key, KEY_TOKENS)
    words = {"key": key, "language": NAMES[work.into], "uses": within_tokens(uses, SHOWN_TOKENS)}
    choices = tuple(term.target for term in fitting)
    rule = use_rule(unit.key, unit.item.text, fitting)
    return Question(unit.item, Kind.CLASSIFY, rule, choices, prompt=CHOOSE, words=words)


def _block(work: _Work, unit: Unit) -> Question:
    """A block for a model to translate, with tokens for what must come back, and the terms that it holds."""
    text, work.spans[unit.item.id] = masked(unit.item.text)
    terms = terms_in(text, work.glossary)
    listed = "; ".join(f"{source} = {' or '.join(dict.fromkeys(targets))}" for source, targets in terms.items())
    listed = within_tokens(listed, TERM_TOKENS)
    words = {"language": NAMES[work.into], "text": text, "glossary": f"Glossary: {listed}\n" if listed else ""}
    spans = work.spans[unit.item.id]
    rule = block_rule(unit.item.text, spans, work.glossary, into=work.into, out_of=work.out_of)
    return Question(unit.item, Kind.TRANSLATE, rule, words=words)
