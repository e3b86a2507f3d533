"""The plan of a translation: strings chosen among a glossary's own wordings, blocks written by a model. Pure."""

from collections.abc import Sequence

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
from blocks.reading.items import Item
from blocks.reading.texts import TextFile
from blocks.reading.translatable import Unit, block_units, string_units
from blocks.transforming import Answers, Plan, Question, Siblings
from blocks.writing.siblings import sibling_names
from blocks.writing.transformed import Done, block_done, translated
from governor.policy.facts import Kind

CHOOSE, BACK_PROMPT = "flows/prompts/transform_choose.md", "flows/prompts/transform_back.md"
BACK = " (back)"


def translation(files: Sequence[TextFile], glossary: Sequence[Term], *, into: Language, out_of: Language) -> Plan:
    """Every string and block of the files; the short ones, which a glossary helps with, come first."""
    units = {f.name: (string_units if f.name.endswith(".json") else block_units)(f.name, f.text) for f in files}
    names = {
        name: sibling
        for ending in (".md", ".json")
        for name, sibling in sibling_names(
            [name for name in units if name.endswith(ending)], f".{into}{ending}"
        ).items()
    }
    known: dict[str, Done] = {}
    questions: list[Question] = []
    spans: dict[str, list[str]] = {}
    for unit in sorted((u for of in units.values() for u in of), key=lambda u: not u.key):
        if unit.key and (target := exact(unit.item, glossary)):
            known[unit.item.id] = Done(place=unit.item.id, text=target, by="the glossary")
            continue
        question = _choice(unit, glossary, into, out_of) if unit.key else None
        if question is None:
            question, spans[unit.item.id] = _block(unit, glossary, into, out_of)
        questions.append(question)

    def then(answers: Answers) -> list[Question]:
        """What passed its rules is translated back; only then something is known of its meaning."""
        return [
            Question(
                Item(id=unit.item.id + BACK, title="", text=answers[unit.item.id].text.strip()),
                Kind.TRANSLATE,
                back_rule(unit.item.text),
                prompt=BACK_PROMPT,
                words={"language": NAMES[out_of]},
            )
            for unit in (u for of in units.values() for u in of)
            if unit.item.id in spans and unit.item.id in answers and answers[unit.item.id].verified
        ]

    def finish(answers: Answers) -> tuple[list[Done], Siblings]:
        done = dict(known)
        for unit in (u for of in units.values() for u in of):
            answer, back = answers.get(unit.item.id), answers.get(unit.item.id + BACK)
            if answer and answer.verified and (unit.item.id not in spans or (back and back.verified)):
                done[unit.item.id] = block_done(unit, answer, spans.get(unit.item.id, []))
        siblings = {names[f.name]: translated(f.name, f.text, units[f.name], done) for f in files}
        order = [unit.item.id for of in units.values() for unit in of]
        left = Done(place="", text="", by="not translated")
        return [done.get(place, left.model_copy(update={"place": place})) for place in order], siblings

    return Plan(questions, finish, then=then)


def _choice(unit: Unit, glossary: Sequence[Term], into: Language, out_of: Language) -> Question | None:
    """Which of the glossary's wordings a string is; None where it has less than two that could be."""
    rule = translation_rule(unit.item.text, [], into=into, out_of=out_of)
    fitting = [term for term in candidates(unit.item.text, glossary) if not rule(term.target)]
    if len(fitting) < 2:
        return None
    uses = "; ".join(f"{term.target} ({term.use})" if term.use else term.target for term in fitting)
    words = {"key": unit.key, "language": NAMES[into], "uses": uses}
    choices = tuple(term.target for term in fitting)
    return Question(
        unit.item, Kind.CLASSIFY, use_rule(unit.key, unit.item.text, fitting), choices, prompt=CHOOSE, words=words
    )


def _block(unit: Unit, glossary: Sequence[Term], into: Language, out_of: Language) -> tuple[Question, list[str]]:
    """A block for a model to translate, with tokens for what must come back, and the terms that it holds."""
    text, spans = masked(unit.item.text)
    terms = terms_in(text, glossary)
    listed = "; ".join(f"{source} = {' or '.join(dict.fromkeys(targets))}" for source, targets in terms.items())
    words = {"language": NAMES[into], "text": text, "glossary": f"Glossary: {listed}\n" if listed else ""}
    rule = block_rule(unit.item.text, spans, glossary, into=into, out_of=out_of)
    return Question(unit.item, Kind.TRANSLATE, rule, words=words), spans
