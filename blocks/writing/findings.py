"""A review as a page and as a table for spreadsheets: where, what rules say, what a model says, what was not read."""

from collections.abc import Sequence

from blocks.checking.review import Finding
from blocks.writing.csv_files import csv_text
from blocks.writing.markdown import BY_RULES, table

COLUMNS = ("severity", "place", "line", "why", "model says", "by")
MOST_LEFT_OUT = 20
# A finding, what a model says about it ('' for nothing), and who says so.
Row = tuple[Finding, str, str]


def findings_csv(rows: Sequence[Row]) -> str:
    """The findings, one a row."""
    return csv_text(COLUMNS, [[f.severity, f.place, f.text, f.what, said, by] for f, said, by in rows])


def findings_page(rows: Sequence[Row], *, more: int, left_out: Sequence[tuple[str, str]], note: str) -> str:
    """The page. `more`: how many findings are not in the rows. `left_out`: what nobody looked at, and why."""
    parts = [f"{len(rows) + more} findings; {note}."]
    if rows:
        cells: list[list[object]] = [
            [f.severity, code(f.place), code(f.text), f.what, said, by] for f, said, by in rows
        ]
        parts.append(table(list(COLUMNS), cells))
    else:
        parts[0] += f" *({BY_RULES})*"
    if more:
        parts.append(f"{more} more are not shown: the agent shows {len(rows)} at most.")
    if left_out:
        lines = [f"- {code(place)}: {why}" for place, why in left_out[:MOST_LEFT_OUT]]
        rest = len(left_out) - MOST_LEFT_OUT
        parts.append("## Not looked at\n\n" + "\n".join([*lines, *([f"- and {rest} more"] if rest > 0 else [])]))
    return "\n\n".join(parts)


def code(text: str) -> str:
    """Text of outside as code on one line: nothing in it is markup."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`"
