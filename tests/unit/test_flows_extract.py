"""extract: no value that is not in the text, and sums that code makes."""

import json
from decimal import Decimal

import pytest

from blocks.reading.items import Item
from flows.extract import amount, by_rules, parsed_date, row, sums_up, total_by_rule, true_to
from governor.answers import Answer

TEXT = "Oak Joinery\nInvoice no. A-33\nDate: 2026-02-14\nShelf  80.00\nBoard  20.50\nTotal: EUR 100.50\n"
GOOD = {"vendor": "Oak Joinery", "number": "A-33", "date": "2026-02-14", "total": "100.50"}


def test_values_of_the_text_pass() -> None:
    assert true_to(TEXT)(json.dumps(GOOD)) == []


@pytest.mark.parametrize(("field", "value"), [("vendor", "Elm"), ("date", "A-33"), ("total", "80.00"), ("number", "9")])
def test_one_wrong_value_fails_the_answer(field: str, value: str) -> None:
    assert true_to(TEXT)(json.dumps({**GOOD, field: value}))


@pytest.mark.parametrize(
    ("text", "value"), [("1.237,75", "1237.75"), ("1,237.75", "1237.75"), ("EUR 54.70", "54.70"), ("-15.04", "-15.04")]
)
def test_both_notations_of_an_amount_are_read(text: str, value: str) -> None:
    assert amount(text) == Decimal(value)


@pytest.mark.parametrize("text", ["2026-10-27", "27.10.2026", "27 October 2026"])
def test_dates_parse(text: str) -> None:
    day = parsed_date(text)
    assert day is not None
    assert day.isoformat() == "2026-10-27"


def test_a_sum_is_recomputed() -> None:
    assert sums_up(TEXT, total_by_rule(TEXT)) == "adds up"
    wrong = TEXT.replace("20.50", "30.50")
    assert sums_up(wrong, total_by_rule(wrong)) == "LINES SAY 110.50"


def test_rules_answer_where_the_model_failed() -> None:
    refused = Answer("", None, False, ["x"], tier="tiny", model="m", demo=True, reason="")
    cells = row(Item(id="a.txt", title="a", text=TEXT), refused)
    assert cells[1:3] == ["Oak Joinery", "A-33"]
    assert cells[-1] == "by rules only"
    assert by_rules(TEXT)["date"] == "2026-02-14"
