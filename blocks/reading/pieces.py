"""The pieces of a draft: what each is about, which words it may take, and what code puts around the model's part."""

import re
from collections.abc import Sequence
from string import Template

from pydantic import BaseModel, ConfigDict, Field

from blocks.checking.prose import WORD, stem
from blocks.fitting import within_tokens
from blocks.reading.found import Message
from blocks.reading.items import Item
from blocks.untrusted import as_data

HEADING = 120
# What fits a short prompt beside an example, for models with a small context too.
SOURCE_CHARACTERS = 700
GREETING = re.compile(
    r"^\s*(?:hello|hi|hey|dear|good (?:morning|day|evening)|hallo|guten tag|moin)\b[^,.!?\n]{0,40}[,!]\s*", re.I
)
NONE_OF_THEM = "none of these notes"
# Words of four letters or more that stand in every question and every note, and tell nothing about either.
COMMON = frozenset(
    {
        "about",
        "after",
        "also",
        "been",
        "before",
        "could",
        "does",
        "from",
        "have",
        "here",
        "into",
        "just",
        "more",
        "must",
    }
    | {"need", "only", "other", "over", "please", "same", "some", "such", "than", "that", "their", "them", "then"}
    | {"there", "these", "they", "this", "those", "very", "want", "were", "what", "when", "where", "which", "will"}
    | {"with", "would", "your"}
)


class Piece(BaseModel):
    """One part of a draft.

    Attributes:
        item: id and title name it; its text is all that the model's part may take words and numbers from.
        brief: what it is to say, '' where the item says so itself. cites: id of the note that it came from. to: whom a
            reply goes to.
        choices: what the model chooses among, where it writes no words of its own: sentences of a mail, titles of
            notes. says: choice -> what stands in the draft for it; where that says nothing, the choice itself.
        notes: that the choices name.
        must: phrases that the model's part must hold as they are.
        template: the whole piece, $said for the model's part.
    """

    model_config = ConfigDict(frozen=True)

    item: Item
    brief: str = ""
    cites: str = ""
    to: str = ""
    choices: tuple[str, ...] = ()
    says: dict[str, str] = Field(default_factory=dict)
    notes: tuple[Item, ...] = ()
    must: tuple[str, ...] = ()
    template: str = "$said"

    def text(self, said: str) -> str:
        """The piece with the model's part in it; dollars in that stay what they are."""
        return Template(self.template).safe_substitute(said=said)


def sentences_of(text: str) -> list[str]:
    """Its sentences; a line that ends without a mark is one too."""
    return [sentence.strip() for sentence in re.split(r"(?<=[.!?])\s+|\n+", text) if sentence.strip()]


def stems(text: str) -> set[str]:
    """The words that tell something, by their first letters."""
    return {stem(word) for word in WORD.findall(text) if word.lower() not in COMMON}


def overlap(wanted: str, note: Item) -> float:
    """How much of `wanted` a note speaks of: the share of its words that stand in the note, in the title twice."""
    words = stems(wanted)
    if not words:
        return 0.0
    return (len(words & stems(f"{note.title} {note.text}")) + len(words & stems(note.title))) / (2 * len(words))


def nearest(wanted: str, notes: Sequence[Item], most: int = 3) -> list[Item]:
    """Notes that share words with `wanted`, the nearest first; of equals the first one."""
    scored = sorted(((overlap(wanted, note), -number, note) for number, note in enumerate(notes)), key=lambda s: s[:2])
    return [note for score, _, note in reversed(scored) if score > 0][:most]


def section_pieces(sections: Sequence[Item], notes: Sequence[Item]) -> list[Piece]:
    """A piece for each section, from the notes that speak of it; one without notes has no text to take words from."""
    pieces = []
    for section in sections:
        wanted = f"{section.title} {section.text}"
        found = nearest(wanted, notes, most=2)
        # A note that speaks of it less than half as much as the nearest one only leads away from it.
        found = [note for note in found if overlap(wanted, note) > overlap(wanted, found[0]) / 2]
        item = Item(id=section.id, title=section.title, text=_shown(" ".join(note.text for note in found)))
        pieces.append(Piece(item=item, brief=section.text, cites="; ".join(note.id for note in found)))
    return pieces


def product_pieces(rows: Sequence[dict[str, str]]) -> list[Piece]:
    """A piece for each product: sentences of a model around its name, and every fact as it stands in the file."""
    pieces = []
    for number, row in enumerate(rows, 1):
        facts = {as_data(name, 40): as_data(value, 300) for name, value in row.items() if value and name != "id"}
        if not facts:
            continue
        name = next(iter(facts.values()))
        listed = "\n".join(f"- {fact}: {_escaped(value)}" for fact, value in list(facts.items())[1:])
        told = " ".join(f"Its {fact} is {value}." for fact, value in list(facts.items())[1:])
        item = Item(
            id=row.get("id") or f"row {number}",
            title=name,
            text=_shown(f"This is the {name}. {told}"),
        )
        pieces.append(Piece(item=item, must=(name,), template=f"$said\n\n{listed}"))
    return pieces


def answer_pieces(questions: Sequence[Item], notes: Sequence[Item]) -> list[Piece]:
    """A piece for each question: the notes that share words with it are its choices, their words are its answers."""
    pieces = []
    for question in questions:
        asked = question.title or question.text
        near = {note.title: note for note in reversed(nearest(asked, notes))}
        item = Item(id=question.id, title=asked[:HEADING], text=asked if near else "")
        says = {title: f"{note.text}\n\nFrom the note: {note.id}" for title, note in reversed(near.items())}
        choices = (*says, NONE_OF_THEM) if says else ()
        says[NONE_OF_THEM] = "No note answers this; somebody has to."
        pieces.append(Piece(item=item, choices=choices, says=says, notes=tuple(reversed(near.values()))))
    return pieces


def reply_pieces(mails: Sequence[Item], template: str) -> list[Piece]:
    """A piece for each mail: the template with its subject filled in; $said stays for the sentence that is chosen."""
    pieces = []
    for mail in mails:
        subject = as_data(re.sub(r"^(?:\s*(?:re|aw|fwd?|wg)\s*:)+\s*", "", mail.title, flags=re.IGNORECASE), HEADING)
        filled = Template(template).safe_substitute(subject=_escaped(subject or "your mail"))
        text = _shown(GREETING.sub("", as_data(mail.text)).strip())
        to = as_data(mail.sender, HEADING) if isinstance(mail, Message) else ""
        item = Item(id=mail.id, title=f"Re: {subject or 'your mail'}", text=text)
        pieces.append(Piece(item=item, to=to, template=filled, choices=tuple(dict.fromkeys(sentences_of(text)))))
    return pieces


def _escaped(text: str) -> str:
    """Dollars doubled: what stands in a template must not look like a placeholder."""
    return text.replace("$", "$$")


def _shown(text: str) -> str:
    """As much as fits a short prompt, up to the last sentence that is whole, where there is one."""
    text = within_tokens(text[:SOURCE_CHARACTERS])
    end = max(text.rfind(mark) for mark in (". ", "! ", "? "))
    return text if not text or text[-1] in ".!?" or end < 0 else text[: end + 1]
