"""Rows as CSV that no spreadsheet takes for formulas. Pure."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from blocks.untrusted import seen

# What a spreadsheet reads as the beginning of a formula (OWASP, "CSV Injection"), wide forms too; a number is none.
FORMULA = re.compile(r"^\s*[=+\-@\t\r＝＋－＠]")
# Where `;` or a tab parts cells, a formula may begin inside of ours.
INNER_FORMULA = re.compile(r"(;\s*|(?<=\S)\t\s*)(?=[=+\-@＝＋－＠][\w(\"'])")
NUMBER = re.compile(r"[+-]?\d[\d.,' ]*%?")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV file with a head; cells that a spreadsheet would run begin with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([plain(column) for column in columns])
    writer.writerows([[plain(value) for value in row] for row in rows])
    return out.getvalue()


def plain(value: object) -> str:
    """A cell as text that is seen, never a formula."""
    text = INNER_FORMULA.sub(r"\1'", "" if value is None else seen(str(value)))
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text.strip()) else text
