"""When a draft stands: a rule set for each form, and how like two drafts may be. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from blocks.checking.prompted import without
from blocks.checking.prose import LINK, WORD, Check, all_of, length, no_new_numbers, words_from
from blocks.reading.outlines import Style
from blocks.reading.pieces import NONE_OF_THEM, Piece, overlap, sentences_of, stems
from blocks.untrusted import CONTROL

# Five words in a row that stand in both are no accident; shingles of that length are usual for near-duplicates.
SHINGLE_WORDS = 5
# A choice: drafts that share more of their shingles than this say mostly the same again.
MOST_SIMILAR = 0.6
# Of more a small model takes the first or the last.
MOST_CHOICES = 6
# A note that holds this share of a question's words answers it, whoever says that none does.
SURELY = 0.6
MARKUP = re.compile(r"</?[a-z!]|\]\s*\(|\]\s*:|^\s{0,3}(?:#{1,6}\s|```|~~~)|\{\{|\$\w", re.IGNORECASE | re.MULTILINE)
# What nobody may promise in somebody else's name; and what a model says about itself.
PROMISES = ("we guarantee", "i guarantee", "we promise", "i promise", "we will refund", "legally binding")
# Three words in a row that stand three times in a paragraph: no person writes so.
MOST_REPEATED = 2
# With these facts are put into a sentence; they praise nothing.
FACT_WORDS = "made comes from with weighs weighing product item length price priced costs"
CHATTER = ("as an ai", "language model", "here is a", "here's a", "i hope this", "[your name]", "lorem ipsum")


class Form(StrEnum):
    """What is drafted."""

    BLOG = "blog"
    SOCIAL = "social"
    NEWSLETTER = "newsletter"
    PRODUCT_COPY = "product-copy"
    FAQ_ANSWERS = "faq-answers"
    REPLIES = "replies"


class FormRules(BaseModel):
    """Bounds of a piece in characters, and how much of it must be the source's words.

    Attributes:
        share: of its longer words that stand in the source. is_new: whether a draft that repeats an earlier one is
            worth nothing; answers to the same question are the same.
    """

    model_config = ConfigDict(frozen=True)

    least: int
    most: int
    share: float = 0.7
    banned: tuple[str, ...] = CHATTER
    is_new: bool = False


RULES = {
    Form.BLOG: FormRules(least=60, most=900, is_new=True),
    # A choice: a little less than the 280 characters that the stricter networks allow.
    Form.SOCIAL: FormRules(least=30, most=260, is_new=True),
    Form.NEWSLETTER: FormRules(least=40, most=600, is_new=True),
    # Praise that no fact bears (`a luxury item`) is soon one word in five.
    Form.PRODUCT_COPY: FormRules(least=30, most=400, share=0.8),
    Form.FAQ_ANSWERS: FormRules(least=20, most=500, share=0.75, banned=(*CHATTER, *PROMISES)),
    Form.REPLIES: FormRules(least=20, most=300, banned=(*CHATTER, *PROMISES)),
}


def piece_rule(form: Form, piece: Piece, style: Style) -> Check:
    """What the model's part of a piece must be: of its length, in the source's words and numbers, without markup."""
    rules = RULES[form]
    source = f"{piece.item.title}. {piece.item.text}"
    known = f"{source} {FACT_WORDS}" if form is Form.PRODUCT_COPY else source
    return all_of(
        length(rules.least, rules.most),
        without([*rules.banned, *style.banned]),
        only_links((*style.links, *LINK.findall(source))),
        no_new_numbers(source),
        each_sentence_from(known, rules.share),
        no_markup,
        holds(piece.must),
        no_loop,
    )


def sayable(piece: Piece, style: Style) -> tuple[str, ...]:
    """The choices of a piece that may stand in a draft: what a mail promises or links to is not repeated to it."""
    rule = piece_rule(Form.REPLIES, piece, style)
    return tuple(choice for choice in piece.choices if not rule(choice) and not LINK.search(choice))[:MOST_CHOICES]


def only_links(allowed: Collection[str]) -> Check:
    """Every link is one of these, to the letter; a full stop after one is not part of it."""
    known = {link.rstrip(".,;:!?)") for link in allowed}
    return lambda text: [
        f"the link {link} is not among the allowed"
        for link in LINK.findall(text)
        if link.rstrip(".,;:!?)") not in known
    ]


def holds(phrases: Sequence[str]) -> Check:
    """Every phrase as it is."""
    return lambda text: [f"{phrase!r} is missing" for phrase in phrases if phrase not in text]


def no_markup(text: str) -> list[str]:
    """Headings, links and fences are put in by code; a model's own would change what the draft is. Signs that turn the
    reading direction are none of a draft's either."""
    return ["it holds markup"] if MARKUP.search(text) or CONTROL.search(text) else []


def each_sentence_from(source: str, share: float) -> Check:
    """Every sentence takes its words from the source: of one that was made up, or came from the prompt's own example,
    the true ones beside it must not hide that."""
    rule = words_from(source, share)
    return lambda text: [p for sentence in sentences_of(text) if WORD.search(sentence) for p in rule(sentence)]


def no_loop(text: str) -> list[str]:
    """No sentence twice: small models go round in circles."""
    sentences = [sentence.lower() for sentence in sentences_of(text)]
    if len(set(sentences)) < len(sentences):
        return ["it repeats a sentence"]
    words = re.findall(r"\w+", text.lower())
    most = max(Counter(zip(words, words[1:], words[2:], strict=False)).values(), default=0)
    return ["it goes round in a circle"] if most > MOST_REPEATED else []


def note_rule(piece: Piece) -> Check:
    """A chosen note speaks of the question at least half as much as the best one; none only where none surely does."""
    question = piece.item.title
    scores = {note.title: overlap(question, note) for note in piece.notes}
    best = max(scores.values(), default=0.0)
    words = stems(question)
    near = max((len(words & stems(f"{note.title} {note.text}")) for note in piece.notes), default=0)

    def check(said: str) -> list[str]:
        label = said.strip().strip('"')
        if label == NONE_OF_THEM:
            return ["a note holds most of the question's words"] if near >= SURELY * len(words) else []
        return [] if scores.get(label, 0.0) >= best / 2 else ["another note speaks of much more of the question"]

    return check


def similarity(draft: str, earlier: str) -> float:
    """The share of the shorter one's shingles that stand in the other, 0 to 1."""
    one, other = _shingles(draft), _shingles(earlier)
    return len(one & other) / min(len(one), len(other)) if one and other else 0.0


def nearest_draft(text: str, earlier: Sequence[tuple[str, str]]) -> tuple[str, float]:
    """Day and similarity of the (day, text) that it is most like; '' and 0 where there is none."""
    return max(((day, similarity(text, old)) for day, old in earlier), key=lambda found: found[1], default=("", 0.0))


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[start : start + SHINGLE_WORDS]) for start in range(len(words) - SHINGLE_WORDS + 1)}
