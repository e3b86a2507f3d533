"""Pairs of quotes as a page and as a table for spreadsheets: what each side says, the rule's verdict, how it reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from blocks.reading.claims import Quote
from blocks.writing.csv_files import csv_text
from blocks.writing.findings import BY_RULES, code
from blocks.writing.markdown import table

COLUMNS = ("about", "verdict", "place", "says", "other place", "other says", "model reads", "by")
MOST_SHOWN = 240


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
    def quotes(self) -> list[str]:
        """Both sides as text."""
        return [quote.text if quote else "" for quote in (self.said, self.held)]

    def read(self, reads: str, by: str) -> "Pair":
        """The same with how somebody reads it."""
        return replace(self, reads=reads, by=by)


def pairs_csv(pairs: Sequence[Pair]) -> str:
    """The pairs, one a row, with whole quotes."""
    return csv_text(COLUMNS, [[p.about, p.verdict, *_side(p.said), *_side(p.held), p.reads, p.by] for p in pairs])


def pairs_page(pairs: Sequence[Pair], *, head: str, more: int) -> str:
    """The page. `more`: how many pairs are not in it."""
    parts = [head if pairs else f"{head} *({BY_RULES})*"]
    if pairs:
        rows: list[list[object]] = [
            [p.about, p.verdict, *map(_shown, _side(p.said)), *map(_shown, _side(p.held)), p.reads, p.by] for p in pairs
        ]
        parts.append(table(list(COLUMNS), rows))
    if more:
        parts.append(f"{more} more are not shown.")
    return "\n\n".join(parts)


def _side(quote: Quote | None) -> tuple[str, str]:
    return (f"{quote.path}:{quote.line}", quote.text.strip()) if quote else ("", "")


def _shown(text: str) -> str:
    return code(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…") if text else ""
