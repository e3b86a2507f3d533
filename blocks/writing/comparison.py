"""Pairs of quotes as a page and as a table for spreadsheets: what each side says, the rule's verdict, how it reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.checking.review import masked
from blocks.reading.claims import Quote
from blocks.reading.clauses import around
from blocks.writing.csv_files import csv_text
from blocks.writing.findings import code
from blocks.writing.markdown import BY_RULES, table

COLUMNS = ("about", "verdict", "place", "says", "other place", "other says", "model reads", "by")
MOST_SHOWN, MOST_QUOTED = 240, 4000


@dataclass(frozen=True)
class Pair:
    """Two quotes that are held against each other; None where one side says nothing."""

    about: str
    verdict: str
    said: Quote | None
    held: Quote | None
    reads: str = ""
    by: str = BY_RULES

    @property
    def texts(self) -> tuple[str, str]:
        """Both sides as they may be shown, without secrets; '' for none."""
        said, held = map(_text, (self.said, self.held))
        return said, held

    def around(self, most: int) -> tuple[str, str]:
        """The same, of long versions of one text what differs."""
        said, held = self.texts
        return around(said, held, most) if said and held else (said, held)

    def read(self, reads: str, by: str) -> "Pair":
        """The same with how somebody reads it."""
        return replace(self, reads=reads, by=by)


def pairs_csv(pairs: Sequence[Pair]) -> str:
    """The pairs, one a row, with quotes of up to `MOST_QUOTED` characters."""
    rows: list[list[object]] = []
    for pair in pairs:
        said, held = (text[:MOST_QUOTED] for text in pair.texts)
        rows.append([pair.about, pair.verdict, _place(pair.said), said, _place(pair.held), held, pair.reads, pair.by])
    return csv_text(COLUMNS, rows)


def pairs_page(pairs: Sequence[Pair], *, head: str, more: int) -> str:
    """The page. `more`: how many pairs are not in it."""
    parts = [head if pairs else f"{head} *({BY_RULES})*"]
    if pairs:
        rows: list[list[object]] = []
        for pair in pairs:
            shown = (_place(pair.said), pair.around(MOST_SHOWN)[0], _place(pair.held), pair.around(MOST_SHOWN)[1])
            rows.append([pair.about, pair.verdict, *map(_shown, shown), pair.reads, pair.by])
        parts.append(table(list(COLUMNS), rows))
    if more:
        parts.append(f"{more} more are not shown.")
    return "\n\n".join(parts)


def _place(quote: Quote | None) -> str:
    return f"{quote.path}:{quote.line}" if quote else ""


def _text(quote: Quote | None) -> str:
    return "\n".join(masked(line, quote.path) for line in quote.text.strip().split("\n")) if quote else ""


def _shown(text: str) -> str:
    return code(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…") if text else ""
