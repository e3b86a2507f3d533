"""When a text is the translation of another: what must come back, and what shows that nobody translated. Pure.

No rule here knows whether a translation is a good one; each knows something that is never one.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from blocks.checking.prose import NUMBER, STEM_LETTERS, Check, stem, words_from
from blocks.reading.items import Item
from blocks.reading.pieces import stems
from blocks.reading.translatable import shape
from blocks.untrusted import CONTROL

# What a program or a browser reads: it leaves as a token and comes back by it. The last one is our token itself.
PROTECTED = re.compile(
    r"`{1,3}[^`]{1,300}`{1,3}"  # code
    r"|(?<=\]\()[^)\s]{1,500}(?=[)\s])"  # the target of a link or an image
    r"|(?<=\])\[[^\]]{0,100}\](?!\()"  # the label of a reference
    r"|</?[A-Za-z][^<>]{0,200}>|<https?://[^<>\s]{1,500}>"
    r"|https?://[^\s)>\]]{1,500}"
    r"|\{\{[^{}]{0,100}\}\}|\$?\{[^{}\s]{0,60}\}"
    r"|%\(\w{1,40}\)[sdif]|%(?:\d{1,2}\$)?[-+0-9.]{0,6}[sdif]\b"
    r"|\[#\d{1,4}\]"
)
TOKEN = re.compile(r"\[#(\d{1,4})\]")
# What a viewer or a reader takes for an address, with a scheme or without; and characters written as entities.
ADDRESS = re.compile(r"(?:[^\W_][\w-]{0,62}\.)+[^\W\d_]{2,24}|&#?\w{1,40};")
LETTERS = re.compile(r"[^\W\d_]+")
# Of fewer words nobody can tell the language; a heading like `Export` may be the same word in both.
TELLING_WORDS = 5
# A choice: running text of each of the languages is full of these; a tenth leaves room for lists.
LEAST_SHARE = 0.1
# A choice: a label may be twice as long in another language, a paragraph hardly.
# A choice, not measured: room for synonyms and other turns of phrase; gibberish in the right language has far less.
BACK_SHARE = 0.5
# A term that shares less than a third of its words with a string is another string.
LEAST_SHARED = 0.34
SHORTEST, LONGEST, FREE_CHARACTERS = 0.4, 2.5, 16


class Language(StrEnum):
    """What a text can be translated into, or from."""

    GERMAN = "de"
    ENGLISH = "en"
    FRENCH = "fr"
    SPANISH = "es"


NAMES = dict(zip(Language, ("German", "English", "French", "Spanish"), strict=True))
# The commonest little words of each.
LITTLE_WORDS = {
    Language.GERMAN: "der die das den dem des ein eine einen einem einer und oder nicht ist sind wird werden mit auf "
    "für von zu zum zur im in an aus bei sie es ich du wir ihr ihre wenn dass wie auch nur noch nach kann alle "
    "als um am sich dieser diese dieses jede jeden jedes über vor bis",
    Language.ENGLISH: "the a an and or not is are was be with on for of to in at from by it its you your we they this "
    "that these which if as when how also only all can will one each any no into than then",
    Language.FRENCH: "le la les un une des du de et ou ne pas est sont avec sur pour par dans en au aux il elle vous "
    "votre nous ce cette ces que qui si comme aussi tous toutes chaque plus se son sa ses",
    Language.SPANISH: "el la los las un una unos de del y o no es son con en para por al se su sus usted que si como "
    "también todos todas cada más este esta estos cuando lo",
}


class Term(BaseModel):
    """A word of the glossary and what it is in the other language; several terms may have the same source."""

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    use: str = ""


def masked(text: str) -> tuple[str, list[str]]:
    """The text with tokens for what must not change, and what they stand for, in order."""
    spans: list[str] = []

    def token(found: re.Match[str]) -> str:
        spans.append(found[0])
        return f"[#{len(spans)}]"

    return PROTECTED.sub(token, text), spans


def unmasked(said: str, spans: Sequence[str]) -> str:
    """The tokens' spans in their places; a token that stands for nothing stays."""
    return TOKEN.sub(lambda t: spans[int(t[1]) - 1] if 0 < int(t[1]) <= len(spans) else t[0], said)


def tokens_rule(spans: Sequence[str]) -> Check:
    """Each token once, none beside them."""
    wanted = Counter(range(1, len(spans) + 1))
    return lambda said: (
        [] if Counter(int(n) for n in TOKEN.findall(said)) == wanted else ["its tokens did not come back"]
    )


def translation_rule(source: str, glossary: Sequence[Term], *, into: Language, out_of: Language) -> Check:
    """A translation of this text, tokens already replaced."""
    bare = _bare(source)
    terms = terms_in(bare, glossary)

    def check(said: str) -> list[str]:
        own = _bare(said)
        problems = [] if shape(said) == shape(source) else ["its links, code or marks are others"]
        if Counter(PROTECTED.findall(said)) != Counter(PROTECTED.findall(source)):
            problems.append("a placeholder changed")
        if sorted(map(_plain, NUMBER.findall(own))) != sorted(map(_plain, NUMBER.findall(bare))):
            problems.append("its numbers are others")
        if own.split() == bare.split() or own.strip().lower() == bare.strip().lower():
            problems.append("it is the same text")
        if "\n" in said.strip() or CONTROL.search(said) or not LETTERS.search(own):
            problems.append("it is no single block of words")
        return (
            problems
            + _added(source, said)
            + _length(bare, own)
            + _language(own, into, out_of)
            + _terms(own, terms)
            + _left(bare, own)
        )

    return check


def terms_in(text: str, glossary: Sequence[Term]) -> dict[str, list[str]]:
    """The glossary's terms that stand in a text as words: source -> every target that it has."""
    found: dict[str, list[str]] = {}
    for term in glossary:
        if re.search(rf"(?<!\w){re.escape(term.source)}(?!\w)", text, re.IGNORECASE):
            found.setdefault(term.source.lower(), []).append(term.target)
    return found


def candidates(text: str, glossary: Sequence[Term], most: int = 4) -> list[Term]:
    """Terms that are nearest to a short string, those with the very same words first, each target once."""
    words = stems(text) or {word.lower() for word in LETTERS.findall(text)}
    scored = []
    for number, term in enumerate(glossary):
        own = stems(term.source) or {word.lower() for word in LETTERS.findall(term.source)}
        shared = len(words & own) / max(len(words | own), 1)
        if shared >= LEAST_SHARED:
            scored.append((-shared, number, term))
    ordered = [term for *_, term in sorted(scored, key=lambda s: s[:2])]
    return list({term.target: term for term in reversed(ordered)}.values())[::-1][:most]


def block_rule(
    source: str, spans: Sequence[str], glossary: Sequence[Term], *, into: Language, out_of: Language
) -> Check:
    """The same for an answer that still holds tokens: each once, and a translation once they are replaced."""
    tokens, rule = tokens_rule(spans), translation_rule(source, glossary, into=into, out_of=out_of)
    return lambda said: tokens(said) or rule(unmasked(said, spans))


def use_rule(key: str, text: str, terms: Sequence[Term]) -> Check:
    """Where the glossary says for what a wording is, and the key speaks of it, the chosen one is of those.

    What the string itself says tells nothing about its use: `Open` at `menu.file.open` is about a menu and a file.
    """
    place = _words(key) - _words(text)
    meant = {term.target for term in terms if place & _words(term.use)}
    return lambda said: [f"{key} is another use of it"] if meant and said.strip().strip('"') not in meant else []


def _words(text: str) -> set[str]:
    return {stem(word) for word in LETTERS.findall(text.replace("_", " "))}


def back_rule(source: str) -> Check:
    """What was translated back has half of the source's words: of text that only looks like the language it has not."""
    return words_from(_bare(source), BACK_SHARE)


def read_terms(rows: Sequence[Mapping[str, str]]) -> list[Term]:
    """Rows with `source` and `target`; others are left out."""
    return [
        Term(source=row["source"], target=row["target"], use=row.get("use", ""))
        for row in rows
        if row.get("source") and row.get("target")
    ]


def exact(item: Item, glossary: Sequence[Term]) -> str:
    """The one target that the glossary has for just this string; '' where it has none or several."""
    targets = {term.target for term in glossary if term.source.strip().lower() == item.text.strip().lower()}
    return targets.pop() if len(targets) == 1 else ""


def _bare(text: str) -> str:
    return PROTECTED.sub(" ", text)


def _plain(number: str) -> str:
    return re.sub(r"[.,:]", "", number)


def _added(source: str, said: str) -> list[str]:
    """Addresses and beginnings of tags that the source has not: nobody translates them into a text."""
    known = source.lower()
    new = [address for address in ADDRESS.findall(said) if address.lower() not in known]
    tags = ["it begins a tag"] if said.count("<") > source.count("<") else []
    return [*tags, *(f"the address {address} is new" for address in new)]


def _length(source: str, said: str) -> list[str]:
    least, most = SHORTEST * len(source) - FREE_CHARACTERS, LONGEST * len(source) + FREE_CHARACTERS
    return [] if least <= len(said) <= most else [f"{len(said)} characters for {len(source)}"]


def _language(said: str, into: Language, out_of: Language) -> list[str]:
    words = [word.lower() for word in LETTERS.findall(said)]
    if len(words) < TELLING_WORDS:
        return []
    here, there = (sum(word in LITTLE_WORDS[one].split() for word in words) for one in (into, out_of))
    return [] if here > there and here >= LEAST_SHARE * len(words) else [f"it is no {NAMES[into]}"]


def _terms(said: str, terms: Mapping[str, list[str]]) -> list[str]:
    words = said.lower()
    return [
        f"{source!r} is {' or '.join(targets)} in the glossary"
        for source, targets in terms.items()
        if not any(target.lower()[: max(STEM_LETTERS, len(target) - 2)] in words for target in targets)
    ]


def _left(source: str, said: str) -> list[str]:
    """Longer words of the source that were left as they were: half of them is no translation."""
    words = {word for word in LETTERS.findall(source.lower()) if len(word) > STEM_LETTERS}
    left = words & set(LETTERS.findall(said.lower()))
    is_left = len(left) > 1 and 2 * len(left) > len(words)
    return [f"{len(left)} of {len(words)} longer words are not translated"] if is_left else []
