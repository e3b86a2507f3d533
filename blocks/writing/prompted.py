"""The page and the rows of an agent that is only a prompt. Pure."""

from collections.abc import Mapping, Sequence

from blocks.checking.prose import first_sentence
from blocks.reading.items import Item
from blocks.writing.markdown import byline, cell, escaped
from governor.answers import Answer

# Of a source's gaps a page names the first; a hundred unread files are one message.
MOST_NAMED = 8


def row_of(item: Item, answer: Answer, labels: Mapping[str, str], fields: Sequence[str]) -> list[object]:
    """id, title, what was answered, by whom. Where nothing passed: no label, no values, the text's own first sentence.

    Args:
        labels: phrase -> label, when it is a choice. fields: the names of the values, when they are extracted.
    """
    if labels:
        said: list[object] = [labels[answer.data] if answer.verified else ""]
    elif fields:
        said = [answer.data[name] if answer.verified else "" for name in fields]
    else:
        said = [" ".join(answer.text.split()) if answer.verified else first_sentence(item.text)]
    by = byline(answer) if answer.verified or not (labels or fields) else "no answer passed the check"
    return [item.id, item.title, *said, by]


def left_out(problems: Sequence[str]) -> str:
    """What of a source was not looked at, '' when all of it was."""
    more = f"; and {len(problems) - MOST_NAMED} more" if len(problems) > MOST_NAMED else ""
    return f" Not among them: {'; '.join(map(escaped, problems[:MOST_NAMED]))}{more}." if problems else ""


def prose_page(items: Sequence[Item], rows: Sequence[Sequence[object]]) -> str:
    """One line an item: its title, linked where it has an address, what was said, and by whom."""
    return "\n".join(
        f"- **{_linked(item)}**: {cell(row[2])} *({row[3]})*" for item, row in zip(items, rows, strict=True)
    )


def _linked(item: Item) -> str:
    title = cell(item.title) or cell(item.id)
    return f"[{title}]({item.url})" if item.url else title
