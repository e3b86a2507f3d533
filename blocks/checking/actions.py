"""Minutes of meetings: which of their lines are actions, and what may be their who, what and by when. Pure.

Dates are `blocks.checking.dates`.
"""

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from itertools import islice

from blocks.checking.dates import DATE, DAY_WORD, find_dates
from blocks.checking.forms import Field, Found, Part, bounded, field_of, with_words_before
from blocks.reading.items import Item

MOST_ACTIONS, LINE_CHARACTERS = 40, 300
# More were at no meeting that has minutes of its actions.
MOST_PEOPLE = 60
# Before a day: far enough for the words that say that it is a due day.
WORDS_CHARACTERS = 60
PRESENT = re.compile(
    r"^[^\w\n]*(?:present|attendees|attending|participants|anwesend|teilnehmer(?:innen)?|présents?|there"
    r"|in the room|on the call)\b[^:\n]*:\s*(.+)$",
    re.IGNORECASE | re.MULTILINE,
)
NAME = re.compile(r"\b[A-ZÄÖÜÉ][\w'’-]+(?: [A-ZÄÖÜ][\w'’-]+)?")
ROLE = re.compile(r"\([^)]*\)")
MARK = re.compile(
    r"^\W*(?:\[ \]\s*)?(?:(?:action(?: item)?|todo|to do|ai|task|aufgabe|next step)s?\b\s*[0-9]*\s*[:.–-]\s*)?",
    re.IGNORECASE,
)
MARKED = re.compile(
    r"^\W*(?:\[ \]|(?:action(?: item)?|todo|to do|ai|task"
    r"|aufgabe)\s*[0-9]*\s*[:.–-])",
    re.IGNORECASE,
)
DONE = re.compile(
    r"^\W*\[x\]|\b(?:done|erledigt|completed|has already|have already|already did|was sent|cancelled"
    r"|dropped|no longer)\b",
    re.IGNORECASE,
)
# Between the one who does it and what is done.
DOES = (
    r"(?:will|shall|is going to|agreed to|agrees to|offered to|promised to|volunteered to|takes over"
    r"|takes on|takes care of"
    r"|takes|is to|to|should|must|übernimmt|kümmert sich um|soll|wird)"
)
BY = re.compile(
    r"[,(\s–-]*\b(?:by|before|until|till|due|no later than|bis(?: zum)?|on|am"
    r"|deadline:?)\s+(?:the\s+)?$",
    re.IGNORECASE,
)
ALL = ("Everyone", "Everybody", "All", "Alle")
SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-ZÄÖÜ@])")


def actions(item: Item, own_names: Sequence[str] = ()) -> list[Part]:
    """One row for each action of the minutes, in their order."""
    del own_names
    text = bounded(item.text)
    people, told = present(text), meeting_day(text)
    lines = islice((line for line in _sentences(text) if is_action(line, people)), MOST_ACTIONS)
    return [_part(item.id, line, people, told) for line in lines]


def present(text: str) -> list[str]:
    """First names and full names of those who were there, as the minutes list them."""
    listed = [name for match in PRESENT.finditer(text) for name in NAME.findall(ROLE.sub(" ", match[1]))]
    known = list(dict.fromkeys(listed))[:MOST_PEOPLE]
    return list(dict.fromkeys([*known, *(name.split()[0] for name in known)]))


def meeting_day(text: str) -> date | None:
    """The first date of the minutes, which is that of the meeting."""
    found = find_dates(text)
    return found[0].day if found else None


def _sentences(text: str) -> list[str]:
    paragraphs = re.sub(r"\n(?=[a-zäöü(])[ \t]*", " ", re.sub(r"\n[ \t]+(?=[\w(])", " ", text)).splitlines()
    return [s.strip()[:LINE_CHARACTERS] for line in paragraphs for s in SENTENCE.split(line) if len(s.strip()) > 10]


def is_action(line: str, people: Sequence[str]) -> bool:
    """Somebody of those present undertakes something that is not done yet."""
    if DONE.search(line) or PRESENT.match(line):
        return False
    return bool(MARKED.search(line)) or _split(line, people) is not None


def _split(line: str, people: Sequence[str]) -> tuple[str, int] | None:
    """The one who does it, and where what is done begins."""
    body = MARK.match(line)
    start = body.end() if body else 0
    match = _undertaking(tuple(people)).search(line, start)
    if match is None or match[1] in ("We", "I") or match.start() > start + 90:
        return None
    return match[1], match.end()


@lru_cache(maxsize=8)
def _undertaking(people: tuple[str, ...]) -> re.Pattern[str]:
    """Somebody of them, and that they do something; made once for all lines of the minutes."""
    names = "|".join(map(re.escape, sorted({*people, *ALL, "We", "I"}, key=len, reverse=True)))
    return re.compile(
        rf"(?:@|\*\*)?\b({names})\b(?:\*\*)?(?:,? (?:and|und|&) (?:{names})\b)?\s*(?:{DOES}\b|[:–—→>-]+)\s*"
    )


def _part(document: str, line: str, people: Sequence[str], told: date | None) -> Part:
    split = _split(line, people)
    who = _who(line, people, split[0] if split else "")
    begin = split[1] if split else (m.end() if (m := MARK.match(line)) else 0)
    by = _by(line)
    when = f"said on {told.isoformat()}" if told else ""
    return Part(document, line, line, (who, _what(line, begin), by), (when,) if when else ())


def _who(line: str, people: Sequence[str], first: str) -> Field:
    named = sorted((line.find(name), name) for name in (*people, *ALL) if re.search(rf"\b{re.escape(name)}\b", line))
    named = [(at, name) for at, name in named if not any(name in other and name != other for _, other in named)]
    return field_of(
        "who", [Found(5 if name == first or first in name.split() else 1, name) for _, name in named], may_lack=True
    )


def _what(line: str, begin: int) -> Field:
    """From behind the verb to the day; the whole line is there to be chosen, too."""
    whole = line[begin:].strip(" .;")
    ends = [m.start() for m in (*DATE.finditer(line, begin), *DAY_WORD.finditer(line, begin))]
    cut = whole
    for end in ends[:1]:
        before = _due_words(line, end)
        cut = line[begin : before.start() if before else end].strip(" .,;:(-–") or whole
    clause = cut.split(", ")[0]
    ranked = [(3, cut), (3 if cut.startswith(whole) else 2, whole), (1, line.strip(" .")), (1, clause)]
    return field_of("what", [Found(score, value) for score, value in ranked if len(value) > 3])


def _by(line: str) -> Field:
    found = [(m.start(), m.group()) for m in (*DATE.finditer(line), *DAY_WORD.finditer(line))]
    told = [Found(3 if _due_words(line, at) else 1, v, with_words_before(line, at, v, 2)) for at, v in sorted(found)]
    return field_of("by", told, may_lack=True)


def _due_words(line: str, end: int) -> re.Match[str] | None:
    return BY.search(line, max(0, end - WORDS_CHARACTERS), end)
