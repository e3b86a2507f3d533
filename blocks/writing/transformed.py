"""What a transformation leaves: sibling files and the rows of its page. Pure."""

import json
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from blocks.checking.prose import first_sentence
from blocks.checking.short_texts import (
    ALT_CHARACTERS,
    DESCRIPTION_CHARACTERS,
    TITLE_CHARACTERS,
    alt_rule,
    shortened,
)
from blocks.checking.translations import unmasked
from blocks.reading.page_images import Picture
from blocks.reading.transcripts import Spoken
from blocks.reading.translatable import UNTRANSLATED, Unit, shape, strings_of, with_blocks
from blocks.writing.markdown import BY_RULES, byline, cell
from governor.answers import Answer


class Done(BaseModel):
    """What became of one item: where it is, what is written for it, and by whom. `counts`: a model's own words."""

    model_config = ConfigDict(frozen=True)

    place: str
    text: str
    by: str
    is_model: bool = False


def translated(name: str, text: str, units: Sequence[Unit], done: Mapping[str, Done]) -> str:
    """The file with what was translated; a block that was not stays and says so, a string that was not just stays.

    A file whose shape would change stays as it is.
    """
    if name.endswith(".json"):
        strings = strings_of(name, text)
        said = {unit.key: done[unit.item.id].text for unit in units if unit.item.id in done}
        return json.dumps({**strings, **said}, indent=2, ensure_ascii=False) + "\n"
    words = {u.item.id: done[u.item.id].text if u.item.id in done else f"{u.item.text} {UNTRANSLATED}" for u in units}
    whole = with_blocks(text, words, [*units])
    return whole if shape(whole) == shape(text) else text


def summary(done: Sequence[Done], *, files: int, later: int) -> str:
    """What came of all places: whose words they have, and how many have none; `later`: how many were not asked yet."""
    passed, said = sum(one.is_model for one in done), sum(bool(one.text) for one in done)
    head = f"{files} files, {len(done)} places: {passed} in a model's words, {said - passed} by code"
    left = f"; {later} more are asked about at the next run" if later else ""
    return f"{head}, {len(done) - said} without words, which stay as they are{left}."


def block_done(unit: Unit, answer: Answer, spans: Sequence[str]) -> Done:
    """A block or string as a model translated or chose it, its tokens replaced."""
    return Done(place=unit.item.id, text=unmasked(str(answer.data).strip(), spans), by=byline(answer), is_model=True)


def part_done(part: Spoken, answer: Answer) -> Done:
    """A part of a transcript, summarised, or its first sentence."""
    said = " ".join(answer.text.split()) if answer.verified else first_sentence(part.item.text)
    return Done(place=part.item.id, text=said, by=byline(answer), is_model=answer.verified)


def summary_file(name: str, parts: Sequence[Spoken], done: Sequence[Done], left: int) -> str:
    """The summary of one transcript: each part with its time and its speakers, which code read, and whose words."""
    lines = [f"# Summary of {cell(name)}", ""]
    for part, one in zip(parts, done, strict=True):
        when = "–".join(dict.fromkeys(filter(None, (part.begins, part.ends)))) or part.item.title
        who = ", ".join(map(cell, part.speakers)) or "nobody named"
        lines += [f"## {when}", "", f"Speakers: {who}", "", f"{cell(one.text)} *({one.by})*", ""]
    if left:
        lines.append(f"{left} more parts were not summarised.")
    return "\n".join(lines).rstrip() + "\n"


def alt_done(picture: Picture, answer: Answer | None) -> Done:
    """The alternative text of an image: as written, a model's, else its caption if that passes the same rule."""
    if picture.is_described:
        return Done(place=picture.item.id, text=picture.alt, by="as written")
    if answer is not None and answer.verified:
        return Done(place=picture.item.id, text=answer.text.strip(), by=byline(answer), is_model=True)
    stand_in = shortened(picture.caption, ALT_CHARACTERS)
    if stand_in and not alt_rule(picture.item.text)(stand_in):
        return Done(place=picture.item.id, text=stand_in, by=BY_RULES)
    return Done(place=picture.item.id, text="", by="nobody: no words are known of it")


def alt_file(pictures: Sequence[Picture], done: Sequence[Done]) -> str:
    """Images of one page with their alternative texts, in order."""
    rows = [{"src": p.source, "alt": d.text, "by": d.by} for p, d in zip(pictures, done, strict=True)]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def meta_done(place: str, text: str, answer: Answer) -> Done:
    """The description of a page: a model's, else as much of its beginning as is shown."""
    said = str(answer.data).strip() if answer.verified else shortened(text, DESCRIPTION_CHARACTERS)
    return Done(place=place, text=said, by=byline(answer), is_model=answer.verified)


def meta_file(title: str, done: Done) -> str:
    """Title and description of one page. The title is the page's own, cut between words where it is too long."""
    said = {"title": shortened(title, TITLE_CHARACTERS), "description": done.text, "description_by": done.by}
    return json.dumps(said, indent=2, ensure_ascii=False) + "\n"
