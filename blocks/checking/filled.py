"""Forms that are filled in: values in one notation, what does not add up, what is there twice, and the page. Pure.

What a model may choose is `blocks.checking.forms`; here its choices, or the rules' own, become rows.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from blocks.checking.amounts import amount, currencies, priced, signed, sums_up
from blocks.checking.dates import find_dates, parsed_date, resolved
from blocks.checking.forms import MOST_CHARACTERS, Part
from blocks.reading.items import Item
from blocks.untrusted import as_data
from blocks.writing.markdown import BY_RULES, byline, table
from governor.answers import Answer

WRONG = "LINES SAY"


@dataclass(frozen=True)
class Filled:
    """One row. `cells`: column -> value, dates as ISO 8601, amounts with a point. `by`: whose choice it is."""

    key: str
    document: str
    cells: dict[str, str]
    by: str
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> bool:
        """Whether it says anything at all."""
        return any(value for name, value in self.cells.items() if name != "sum")

    @property
    def is_wrong(self) -> bool:
        """Whether its lines do not add up."""
        return self.cells.get("sum", "").startswith(WRONG)


def filled_in(parts: Sequence[Part], answered: Sequence[tuple[Part, Part, Answer]]) -> list[Filled]:
    """All rows; a model's choice where it passed, the rules' where it did not or was not asked.

    Args:
        answered: of which part, what of it was asked, and what came back.
    """
    rows, counted = [], dict[str, int]()
    for part in parts:
        counted[part.document] = counted.get(part.document, 0) + 1
        mine = [(asked, answer) for of, asked, answer in answered if of is part]
        values = dict(part.by_rules)
        for asked, answer in mine:
            values |= asked.chosen(answer.data) if answer.verified else {}
        by = _by(mine)
        key = f"{part.document}#{counted[part.document]}"
        rows.append(Filled(key, part.document, cells(part, values), by, list(part.notes)))
    return [_with_twins(row, rows) for row in rows]


def _by(asked: Sequence[tuple[Part, Answer]]) -> str:
    """Whose choice a row is; where only some of it passed, which of it the rules filled in."""
    who = next((byline(answer) for _, answer in asked if answer.verified), BY_RULES)
    failed = [field.name for part, answer in asked if not answer.verified for field in part.fields if field.is_open]
    return f"{who}; {', '.join(failed)} {BY_RULES}" if failed and who != BY_RULES else who


def cells(part: Part, values: Mapping[str, str]) -> dict[str, str]:
    """The values in one notation, and what code adds to them."""
    told: dict[str, str] = {}
    for name, value in values.items():
        told[name] = " ".join(value.split())
        if name in ("date", "begin", "end"):
            told[name] = next((f.day.isoformat() for f in find_dates(part.text) if f.raw == value), told[name])
        elif name == "by":
            said = parsed_date(part.notes[0].removeprefix("said on ")) if part.notes else None
            told[name] = str(resolved(value, said) or value)
        elif name == "total":
            told |= _money(part.text, value)
    return told


def _money(text: str, value: str) -> dict[str, str]:
    total = amount(value)
    lines = text.splitlines()
    places = [line.place for line in priced(text) if value in line.raw]
    named = [
        found for place in reversed(places) for found in currencies("\n".join(lines[max(0, place - 1) : place + 1]))
    ]
    return {
        "total": "" if total is None else str(signed(text, total)),
        "currency": next(iter([*named, *currencies(text)]), ""),
        "sum": sums_up(text, total),
    }


def _with_twins(row: Filled, rows: Sequence[Filled]) -> Filled:
    """The row with a note on others of the same vendor and number."""
    mine = _identity(row)
    twins = [other.document for other in rows if other is not row and mine and _identity(other) == mine]
    credit = ["credit note"] if row.cells.get("total", "").startswith("-") else []
    notes = [*row.notes, *credit, *(f"the same number as {name}" for name in twins)]
    return Filled(row.key, row.document, row.cells, row.by, notes)


def _identity(row: Filled) -> tuple[str, str] | None:
    vendor, number = row.cells.get("vendor", ""), row.cells.get("number", "")
    return ("".join(c for c in vendor.lower() if c.isalnum()), number.lower()) if vendor and number else None


def columns_of(rows: Sequence[Filled]) -> tuple[str, ...]:
    """Of the files: a key first."""
    return ("key", "document", *(rows[0].cells if rows else ()), "notes", "said_by")


def lines_of(rows: Iterable[Filled]) -> list[list[str]]:
    """The rows in the order of `columns_of`."""
    return [[row.key, row.document, *row.cells.values(), "; ".join(row.notes), row.by] for row in rows]


def rows_json(rows: Iterable[Filled]) -> str:
    """The same as JSON."""
    told = [
        {"key": row.key, "document": row.document, **row.cells, "notes": row.notes, "said_by": row.by} for row in rows
    ]
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def alarm_of(rows: Sequence[Filled]) -> str:
    """What somebody should look at before it is paid; '' for nothing."""
    wrong = [row.document for row in rows if row.is_wrong]
    twins = [row.document for row in rows if any(note.startswith("the same number") for note in row.notes)]
    said = [f"{len(wrong)} do not add up: {', '.join(wrong)}"] if wrong else []
    return as_data("; ".join([*said, *([f"twice the same number: {', '.join(twins)}"] if twins else [])]), 300)


@dataclass(frozen=True)
class LeftOut:
    """What no row speaks of.

    Attributes:
        older: how many documents. long: those of which only the beginning was looked at.
        anew: why the rows of earlier runs do not count.
    """

    older: int = 0
    long: Sequence[str] = ()
    anew: str = ""

    def lines(self) -> list[str]:
        """For the page."""
        names = ", ".join(as_data(name, 100) for name in self.long)
        return [
            *([f"{self.older} older documents are left out (`max_items`)."] if self.older else []),
            *([f"Only the first {MOST_CHARACTERS} characters were looked at of: {names}."] if self.long else []),
            *([f"The earlier rows of rows.sqlite were begun anew: {as_data(self.anew, 200)}."] if self.anew else []),
        ]


def long_ones(items: Iterable[Item]) -> list[str]:
    """Documents that are longer than what the forms look at."""
    return [item.id for item in items if len(item.text) > MOST_CHARACTERS]


def page(
    rows: Sequence[Filled], unread: Mapping[str, str], empty: Sequence[str] = (), left_out: LeftOut | None = None
) -> str:
    """All rows, how many do not add up, and the documents that gave none."""
    head = f"{len(rows)} rows of {len({row.document for row in rows})} documents"
    if any("sum" in row.cells for row in rows):
        head += f", {sum(row.is_wrong for row in rows)} whose lines do not add up to the total"
    names = ["document", *(rows[0].cells if rows else ()), "notes", "said by"]
    shown: list[list[object]] = [[as_data(str(value), 300) for value in line[1:]] for line in lines_of(rows)]
    parts = [f"{head}.", table(names, shown)] if rows else ["No row."]
    if unread:
        parts.append(
            "Not read:\n\n" + "\n".join(f"- {as_data(name, 100)}: {as_data(why, 200)}" for name, why in unread.items())
        )
    if empty:
        parts.append("Nothing found in: " + ", ".join(as_data(name, 100) for name in empty) + ".")
    parts += left_out.lines() if left_out is not None else []
    return "\n\n".join(parts)
