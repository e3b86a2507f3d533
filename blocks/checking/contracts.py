"""Contracts: what may be the other party, the begin, the end, the notice period and the renewal. Pure.

Dates are `blocks.checking.dates`. What a contract means is for whoever reads it; this finds what it says.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from blocks.checking.dates import find_dates
from blocks.checking.forms import WORDS_BEFORE, Field, Found, Part, bounded, field_of
from blocks.reading.items import Item

SHOWN_CHARACTERS = 700
# Names that are looked at; the parties stand at the beginning.
MOST_NAMES = 100
# Before a word or a date, so far back: room for the few words that turn or say what it means.
NEGATED_CHARACTERS, SAID_CHARACTERS, AFTER_CHARACTERS = 120, 400, 90
DATE_CUES, PERIOD_CUES = frozenset({"begin", "end", "other"}), frozenset({"notice", "renewal", "term"})
QUESTIONS = {
    "party": "Who is the other party?",
    "begin": "When does it begin?",
    "end": "When does it end?",
    "notice": "How long is the notice?",
    "renewal": "For how long does it renew?",
}
COUNT = (
    r"(?:[0-9]{1,3}|one|two|three|four|five|six|nine|twelve|eighteen|twenty-four|thirty-six|fourteen|thirty"
    r"|sixty|ninety"
    r"|ein(?:em|en|er)?|zwei|drei|vier|sechs|zwölf|vierundzwanzig|un|deux|trois|six|douze)"
)
PERIOD = re.compile(
    rf"\b{COUNT}(?:\s*\([^)]{{1,12}}\))?[\s-]+(?:full |calendar |further |successive |more |weitere[rns]? "
    rf"|volle[rn]? )?"
    r"(?:days?|weeks?|months?|quarters?|years?|Tage?n?|Wochen?|Monate?n?|Jahre?n?|Jahr|mois|ans?|jours)\b",
    re.IGNORECASE,
)
CUES = {
    "begin": r"begins?|commences?|starts?|effective|in force|comes into|from|as of|ab dem|beginnt|beginn"
    r"|gilt ab|prend effet|à compter",
    "end": r"ends?|expir\w+|until|through|terminat\w+ on|ending|runs to|up to and including|bis|endet"
    r"|läuft aus|jusqu|prend fin",
    "other": r"signed|dated|last changed|version|delivered|born|invoiced?|prices? of|unterzeichnet|fait"
    r"|made (?:on|this)|offer|order|printed|amended|kick-?off|review",
    "notice": r"notice|giv\w+|terminat\w+|cancel\w*|withdraw\w*|gekündigt|kündig\w+|kündigungsfrist"
    r"|frist von|préavis|résili\w+",
    "renewal": r"(?<!non-)renew\w*|extend\w*|prolong\w*|roll\w* over|verlänger\w+|jeweils um|reconduit\w*"
    r"|continues? for",
    "term": r"term of|period of|duration|laufzeit|initial|minimum|pay\w*|within|liab\w+|warranty|respon\w+"
    r"|deliver\w*|every|retain\w*|store\w*|zahlbar|confiden\w+|durée",
}
NEGATED = re.compile(
    r"(?:not|no|never|without|nicht|keine?|does not|shall not|won't)\s+(?:\w+\s+){0,3}$", re.IGNORECASE
)
CUE = re.compile("|".join(rf"(?P<{name}>\b(?:{words})\b)" for name, words in CUES.items()), re.IGNORECASE)
BETWEEN = re.compile(r"\b(?:between|zwischen|entre)\b", re.IGNORECASE)
PARTY_LABEL = re.compile(
    r"^[^\w\n]*(?:provider|supplier|landlord|lessor|licensor|contractor|vendor|party|parties|vermieter|anbieter"
    r"|bailleur)\s*:\s*(.+)$",
    re.I | re.M,
)
PARTY = re.compile(
    r"[A-ZÄÖÜÉ0-9][\w&.'’+-]*(?:\s+(?:&|\+|of|of the|der|für|de"
    r"|la)?\s*[A-ZÄÖÜÉ0-9(][\w&.'’+)-]*){0,6}"
)
CONTRACT_WORDS = re.compile(
    r"^(?:this|the|contract|agreement|between|and|und|article|section|clause|provider|customer|client)\b", re.I
)
SENTENCE_END = re.compile(
    r"(?<=[.;:])\s+(?=[A-ZÄÖÜ§(0-9])|\n\s*\n|\n(?=\s*(?:[0-9§(*-]))"
    r"|\n(?=[A-ZÄÖÜ][\w ]{2,24}:)"
)


def contract(item: Item, own_names: Sequence[str] = ()) -> list[Part]:
    """The one row of a contract."""
    text = bounded(item.text)
    dates = find_dates(text)
    days = Places.of(text, DATE_CUES, [(found.start, found.raw) for found in dates])
    periods = Places.of(text, PERIOD_CUES, [(m.start(), m.group()) for m in PERIOD.finditer(text)])
    fields = (
        party(text, own_names),
        *(days.field(name) for name in ("begin", "end")),
        *(periods.field(name) for name in ("notice", "renewal")),
    )
    fields = tuple(replace(f, question=QUESTIONS[f.name], shown=shown(text, f.values.values())) for f in fields)
    unclear = [found.raw for found in dates if found.ambiguous]
    return [
        Part(
            item.id,
            text,
            text[:SHOWN_CHARACTERS],
            fields,
            tuple(f"{raw}: day and month are unclear" for raw in unclear[:2]),
        )
    ]


def party(text: str, own_names: Sequence[str] = ()) -> Field:
    """The one that is not us: labelled, or named after `between`."""
    ranked: list[tuple[int, str]] = []
    for match in PARTY_LABEL.finditer(text):
        for name in re.split(r"\s+(?:and|und|et)\s+", match[1].split(",")[0].split(" (")[0]):
            ranked.append((5, name.strip(" .;*")))
    between = BETWEEN.search(text)
    window = text[between.end() : between.end() + 500] if between else text[:400]
    for place, match in enumerate(PARTY.finditer(window)):
        name = re.sub(r"\s*\(.*$", "", " ".join(match.group().split())).strip(" .,(")
        if len(name) > 3 and not CONTRACT_WORDS.match(name) and not any(c.isdigit() for c in name):
            ranked.append((4 - min(place, 3) if between else 1, name))
    named = [(score, name) for score, name in ranked[:MOST_NAMES] if not _is_ours(name, own_names)]
    plain = " ".join(text.split())
    return field_of("party", [Found(score, name) for score, name in named if " ".join(name.split()) in plain])


def _is_ours(name: str, own_names: Sequence[str]) -> bool:
    return any(own.lower() in name.lower() or name.lower() in own.lower() for own in own_names)


@dataclass(frozen=True)
class Places:
    """Dates or periods of a text, each with the word that says what it is for; the text is searched once.

    Attributes:
        starts, ends: where its sentences begin and where they end.
        cues: where a word begins and ends that says what something is for, and what for.
        found: where a value stands, and the value.
    """

    text: str
    starts: list[int]
    ends: list[int]
    cues: list[tuple[int, int, str]]
    found: list[tuple[int, str]]

    @classmethod
    def of(cls, text: str, among: frozenset[str], found: list[tuple[int, str]]) -> "Places":
        """`among`: the kinds of words that count for these values."""
        spans = [match.span() for match in SENTENCE_END.finditer(text)]
        cues = [(m.start(), m.end(), m.lastgroup) for m in CUE.finditer(text) if m.lastgroup in among]
        return cls(text, [0, *(end for _, end in spans)], [*(begin for begin, _ in spans), len(text)], cues, found)

    def field(self, name: str) -> Field:
        """The values whose word says so, best first."""
        ranked = [Found(3 if self.cue(at) == name else 0, value, self._said(at, value)) for at, value in self.found]
        return field_of(name, _first_best(ranked), may_lack=True)

    def cue(self, at: int) -> str:
        """What the value here is for, by the last such word before it in its sentence, else the first after it."""
        begins = self._begins(at)
        ends = self.ends[bisect_left(self.ends, at)]
        place = bisect_left(self.cues, (at,))
        if place and self.cues[place - 1][0] >= begins:
            start, _, cue = self.cues[place - 1]
            return "" if NEGATED.search(self.text[max(begins, start - NEGATED_CHARACTERS) : start]) else cue
        after = self.cues[place] if place < len(self.cues) else None
        return after[2] if after is not None and after[1] <= min(ends, at + AFTER_CHARACTERS) else ""

    def _begins(self, at: int) -> int:
        """Right before a value a colon or a line's end is no end, `Version: May 3, 2026`; an empty line is one."""
        place = bisect_right(self.starts, at) - 1
        right_before = place and not self.text[self.starts[place] : at].strip()
        goes_on = right_before and self.text.count("\n", self.ends[place - 1], self.starts[place]) < 2
        return self.starts[place - 1 if goes_on else place]

    def _said(self, at: int, value: str) -> str:
        """The value with the words before it in its sentence, whatever lines they stand on."""
        before = self.text[max(self._begins(at), at - SAID_CHARACTERS) : at].split()
        return " ".join([*before[-WORDS_BEFORE:], *value.split()])


def _first_best(found: list[Found]) -> list[Found]:
    """Of several with the same cue the first counts more: the others are exceptions."""
    seen, told = False, []
    for each in found:
        told.append(replace(each, score=each.score - 1) if seen and each.score > 0 else each)
        seen = seen or each.score > 0
    return told


def shown(text: str, values: Iterable[str]) -> str:
    """The sentences that hold one of the values."""
    sentences = [" ".join(s.split()) for s in SENTENCE_END.split(text)]
    told = [" ".join(value.split()) for value in values if value]
    return "\n".join(s for s in sentences if any(value in s for value in told))[:SHOWN_CHARACTERS]
