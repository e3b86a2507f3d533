"""Forms: what is wanted of a text, what stands in it that may be meant, and whether a choice among that can be right.

Code finds the candidates, a model chooses among them under a schema, and the rules of a form refuse what its text
speaks against. Where the candidates come from is `papers`, `actions` and `contracts`. Pure.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

# What is chosen where the text does not say it.
NOTHING = "none"
# A list that is longer makes a grammar slow and a choice blind.
MOST_CANDIDATES = 4
# From this score on the text says that there is such a value, so that it cannot be missing.
SURE = 3
# Of a value the words before it say what it is.
WORDS_BEFORE = 5
# Of a document: a contract of thirty pages; a longer line is no line of a paper.
MOST_CHARACTERS, LINE_CHARACTERS = 100_000, 1000


@dataclass(frozen=True)
class Found:
    """Something in the text that may be meant. `score`: how much speaks for it. `said`: it with the words before it."""

    score: int
    value: str
    said: str = ""


@dataclass(frozen=True)
class Field:
    """One value that is wanted.

    Attributes:
        values: what it may be, by the words that a model may choose, the likeliest first. Such words are the text's
            own, `invoice date: 2026-11-03` rather than the date alone; NOTHING where the value may be missing.
        plausible: those choices that no rule speaks against; the first is always one of them.
        question, shown: how it is asked for by itself, and what of the text is shown with that.
    """

    name: str
    values: dict[str, str]
    plausible: frozenset[str]
    question: str = ""
    shown: str = ""

    @property
    def by_rule(self) -> str:
        """What rules take without a model, '' for nothing."""
        return next(iter(self.values.values()), "")

    @property
    def is_open(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.values) > 1


@dataclass(frozen=True)
class Part:
    """A text that fills in one row. `shown`: what of it a model reads. `notes`: what the page says about it."""

    document: str
    text: str
    shown: str
    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a model has anything to choose."""
        return any(field.is_open for field in self.fields)

    @property
    def by_rules(self) -> dict[str, str]:
        """Every value as rules find it."""
        return {field.name: field.by_rule for field in self.fields}

    def apart(self) -> list["Part"]:
        """The same, one part for each open field: for forms whose fields are too many for one answer."""
        return [
            replace(self, fields=(field,), shown=field.shown or self.shown) for field in self.fields if field.is_open
        ]

    @property
    def question(self) -> str:
        """Of its first field."""
        return self.fields[0].question if self.fields else ""

    def chosen(self, data: dict[str, str]) -> dict[str, str]:
        """The values that a model's choices stand for."""
        return {field.name: field.values[data[field.name]] for field in self.fields if field.name in data}


def field_of(name: str, found: Sequence[Found], *, may_lack: bool = False) -> Field:
    """A field from what was found: the best score is plausible, what is below is only there to be chosen.

    What nothing speaks for (a score below 0) is left out where something does.

    Args:
        found: in the order of the text; of equal ones the first is the rules' own.
    """
    best: dict[str, Found] = {}
    for each in found:
        if each.value not in best or each.score > best[each.value].score:
            best[each.value] = each
    ranked = sorted(best.values(), key=lambda each: -each.score)
    told = [each for each in ranked if each.score >= 0 or ranked[0].score <= 0][:MOST_CANDIDATES]
    values: dict[str, str] = {}
    for each in told:
        values.setdefault(each.said or each.value, each.value)
    first = {each.said or each.value for each in told if each.score == told[0].score}
    if may_lack and (not told or told[0].score <= 0):
        return Field(name, {NOTHING: "", **values}, frozenset({NOTHING}))
    missing = {NOTHING: ""} if may_lack and told[0].score < SURE else {}
    return Field(name, {**values, **missing}, frozenset(first))


def bounded(text: str) -> str:
    """The text as the forms look at it: its beginning, and of each line the beginning."""
    return "\n".join(line[:LINE_CHARACTERS] for line in text[:MOST_CHARACTERS].splitlines())


def with_words_before(text: str, start: int, value: str, most: int = WORDS_BEFORE) -> str:
    """The value with up to so many words before it, of its line, as the text has them but for blanks."""
    before = text[max(0, text.rfind("\n", 0, start)) : start].split()
    return " ".join([*before[-most:], *value.split()])


def schema_of(part: Part) -> dict[str, Any]:
    """A JSON schema whose values are the choices of the part, for the fields that are open."""
    fields = [field for field in part.fields if field.is_open]
    return {
        "type": "object",
        "properties": {field.name: {"type": "string", "enum": list(field.values)} for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def rules_of(part: Part) -> Callable[[str], list[str]]:
    """The rule for an answer: every value stands in the text, and no rule of the form speaks against it."""
    text = " ".join(part.text.split())

    def check(said: str) -> list[str]:
        choices, problems = json.loads(said), []
        for field in part.fields:
            choice = choices.get(field.name)
            if choice is None or not field.is_open:
                continue
            if choice not in field.values or " ".join(field.values[choice].split()) not in text:
                problems.append(f"{field.name} {choice!r} is not in the text")
            elif choice not in field.plausible:
                problems.append(f"{field.name} {choice!r} is not what the text says it is")
        return problems

    return check
