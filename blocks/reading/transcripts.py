"""Transcripts of meetings and podcasts: who said what and when, in parts that fit a short prompt."""

import re

from pydantic import BaseModel, ConfigDict

from blocks.fitting import SHOWN_TOKENS, within_tokens
from blocks.reading.items import Item
from blocks.untrusted import as_data
from governor.policy.tokens import estimated_tokens

CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?"
NAME = r"[^\W\d_][\w .'’-]{0,40}"
# `[00:01:12] Mara: text`, `00:01 Mara: text`, `Mara (00:01): text`, `Mara: text`
TURN = re.compile(
    rf"^\s*[\[(]?(?P<at>{CLOCK})?[\])]?\s*(?P<who>{NAME}?)\s*(?:[\[(](?P<then>{CLOCK})[\])])?\s*:\s+(?P<said>\S.*)$"
)
CUE = re.compile(rf"^\s*(?P<at>{CLOCK})\s*-->\s*{CLOCK}")
VOICE = re.compile(r"<v(?:\.\S{1,40})?\s+([^<>]{1,40})>")
PART_CHARACTERS = 700
MOST_PARTS = 400


class Spoken(BaseModel):
    """A part of a transcript. `item`: its text is what was said, without clocks; id is `file#part`."""

    model_config = ConfigDict(frozen=True)

    item: Item
    file: str
    begins: str = ""
    ends: str = ""
    speakers: tuple[str, ...] = ()


class _Turn(BaseModel):
    at: str
    who: str
    said: str


def parts_of_transcript(name: str, text: str) -> list[Spoken]:
    """Turns put together to parts of at most `PART_CHARACTERS` and `SHOWN_TOKENS`; one long turn is cut."""
    parts: list[list[_Turn]] = []
    size = tokens = 0
    for turn in _turns(text):
        own = estimated_tokens(turn.said)
        if not parts or size + len(turn.said) > PART_CHARACTERS or tokens + own > SHOWN_TOKENS:
            parts.append([])
            size = tokens = 0
        parts[-1].append(turn)
        size, tokens = size + len(turn.said), tokens + own
    return [_spoken(name, number, turns) for number, turns in enumerate(parts[:MOST_PARTS], 1)]


def _turns(text: str) -> list[_Turn]:
    turns: list[_Turn] = []
    at = ""
    for line in text.splitlines():
        if cue := CUE.match(line):
            at = cue["at"]
            continue
        if not line.strip() or line.strip().isdigit() or line.startswith(("WEBVTT", "NOTE")):
            continue
        line = VOICE.sub(r"\1: ", line)
        found = TURN.match(line[:4000])
        who = as_data(found["who"], 40) if found else ""
        said = within_tokens(as_data(found["said"] if found else line, PART_CHARACTERS))
        at = (found["at"] or found["then"] or at) if found else at
        if found is None and turns:
            # A turn that goes on in the next line; a new part may begin there.
            who = turns[-1].who
        if said:
            turns.append(_Turn(at=at, who=who, said=said))
    return turns


def _spoken(name: str, number: int, turns: list[_Turn]) -> Spoken:
    words: list[str] = []
    for turn, before in zip(turns, [None, *turns], strict=False):
        new = turn.who and (before is None or before.who != turn.who)
        words.append(f"{turn.who}: {turn.said}" if new else turn.said)
    speakers = tuple(dict.fromkeys(turn.who for turn in turns if turn.who))
    item = Item(id=f"{name}#{number}", title=f"{name}, part {number}", text=" ".join(words))
    begins = next((turn.at for turn in turns if turn.at), "")
    return Spoken(item=item, file=name, begins=begins, ends=turns[-1].at, speakers=speakers)
