"""Whether tables hold what they should. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dateutil import parser as dates

from blocks.checking.findings import Finding, fail, figure, fine, named, warn
from blocks.checking.settings import DataRule, Must
from governor.policy.facts import Fact

# Bad cells that a finding shows.
SHOWN = 3


class Column(Fact):
    """The values of one column, None for NULL; an empty cell of a CSV file is NULL."""

    values: tuple[str | None, ...]


class Table(Fact):
    """What was read of a table.

    Attributes:
        rows: how many there are, None where nobody counted them to the end. columns: those that rules speak of.
        is_cut: whether the columns go on.
    """

    rows: int | None
    columns: dict[str, Column]
    is_cut: bool = False


class Data(Fact):
    """All tables that rules speak of. `notes`: what kept the reader from seeing all."""

    tables: dict[str, Table]
    notes: tuple[str, ...] = ()


def judge(data: Data, rules: Sequence[DataRule], before: Mapping[str, float | str]) -> list[Finding]:
    """One finding a rule. `before`: rows of each table at the run before (`rows:TABLE`)."""
    found = [_of_rule(data, rule, before) for rule in rules]
    return [*found, *(warn("the data", note) for note in data.notes)]


def counts(data: Data) -> dict[str, float | str]:
    """What the next run is compared with."""
    return {f"rows:{n}": float(t.rows) for n, t in sorted(data.tables.items()) if t.rows is not None}


def _of_rule(data: Data, rule: DataRule, before: Mapping[str, float | str]) -> Finding:
    table = data.tables.get(rule.table)
    subject = named(f"{rule.table}.{rule.column}" if rule.column else rule.table)
    if table is None:
        return fail(subject, f"There is no table {named(rule.table)}.", value="no table")
    if rule.must is Must.SAME_COUNT:
        return _count_of(subject, table.rows, before.get(f"rows:{rule.table}"), rule.percent)
    column = table.columns.get(rule.column)
    if column is None:
        return fail(subject, f"The table {named(rule.table)} has no column {named(rule.column)}.", value="no column")
    if rule.must is Must.REFERENCE and (other := data.tables.get(_target(rule)[0])) and other.is_cut:
        return warn(subject, f"Whether {subject} refers to what is there is not known: it was not all read.")
    bad = list(_bad(column.values, rule, data))
    words = _words(rule)
    if not bad:
        return fine(subject, f"All of {len(column.values)} rows of {subject} are as they should be: {words}.", value=0)
    shown = ", ".join([*dict.fromkeys(named(value) for value in bad if value and value.strip())][:SHOWN])
    such = f", such as {shown}" if shown else ""
    what = f"{len(bad)} of {len(column.values)} rows of {subject} are wrong{such}: each must be {words}."
    return fail(subject, what, value=f"{len(bad)} rows", limit=words)


def _bad(values: Sequence[str | None], rule: DataRule, data: Data) -> Iterable[str | None]:
    """Values against the rule; NULL is only wrong where a value must be there."""
    there = [value for value in values if value is not None]
    if rule.must is Must.NOT_EMPTY:
        return [value for value in values if value is None or not value.strip()]
    if rule.must is Must.UNIQUE:
        many = {value for value, count in Counter(there).items() if count > 1}
        return [value for value in there if value in many]
    if rule.must is Must.DATE:
        return [value for value in there if not _is_date(value)]
    if rule.must is Must.REFERENCE:
        table, column = _target(rule)
        other = data.tables.get(table)
        known = set(other.columns[column].values) if other and column in other.columns else set[str | None]()
        return [value for value in there if value not in known]
    return [value for value in there if not _in_range(value, rule)]


def _target(rule: DataRule) -> tuple[str, str]:
    table, _, column = rule.references.partition(".")
    return table, column


def _in_range(value: str, rule: DataRule) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    least = -math.inf if rule.least is None else rule.least
    most = math.inf if rule.most is None else rule.most
    return math.isfinite(number) and least <= number <= most


def _is_date(value: str) -> bool:
    if not 4 < len(value) < 40:
        return False
    try:
        dates.parse(value)
    except (ValueError, OverflowError):
        return False
    return True


def _count_of(subject: str, rows: int | None, before: float | str | None, percent: float) -> Finding:
    if rows is None:
        return warn(subject, f"The rows of the table {subject} are not counted: it was not all read.")
    if not isinstance(before, float):
        return fine(subject, f"The table {subject} has {rows} rows; there is no earlier count yet.", value=rows)
    change = 100 * (rows - before) / before if before else (100.0 if rows else 0.0)
    words = f"The table {subject} has {rows} rows, {figure(before)} at the run before"
    if abs(change) > percent:
        limit = f"{figure(percent)} %"
        return fail(subject, f"{words}; at most {limit} of change are expected.", value=f"{change:+.1f} %", limit=limit)
    return fine(subject, f"{words}.", value=rows)


def _words(rule: DataRule) -> str:
    if rule.must is Must.RANGE:
        ends = (("at least", rule.least), ("at most", rule.most))
        return "a number " + " and ".join(f"{word} {figure(end)}" for word, end in ends if end is not None)
    if rule.must is Must.REFERENCE:
        return f"in {named(rule.references)}"
    return {Must.NOT_EMPTY: "filled", Must.UNIQUE: "unique", Must.DATE: "a date"}[rule.must]
