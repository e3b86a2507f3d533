"""Amounts and dates: every notation is one value, sums are recomputed, and nothing is guessed without a word."""

from datetime import date
from decimal import Decimal

import pytest

from blocks.checking.amounts import AMOUNT, amount, currencies, sums_up, total_by_rule
from blocks.checking.dates import find_dates, parsed_date, resolved

PAPER = "Oak Joinery\nInvoice no. A-33\nDate: 2026-02-14\nShelf  80.00\nBoard  20.50\nTotal: EUR 100.50\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.237,75", "1237.75"),
        ("1,237.75", "1237.75"),
        ("1 237,75", "1237.75"),
        ("1\u202f237,75", "1237.75"),
        ("1'237.75", "1237.75"),
        ("EUR 54.70", "54.70"),
        ("-15.04", "-15.04"),
        ("\u22123.20", "-3.20"),
        ("(5.00)", "-5.00"),
        ("5.00-", "-5.00"),
        ("-€3.20", "-3.20"),
        ("l26,OO", "126.00"),
        ("1'200.–", "1200"),
    ],
)
def test_every_notation_of_an_amount_is_read(text: str, value: str) -> None:
    assert amount(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "abc", "-", ".,.,", "Infinity", "NaN", "9" * 400, "٣٤"])
def test_what_is_no_amount_is_none(text: str) -> None:
    assert amount(text) is None


@pytest.mark.parametrize("line", ["20.11.2026", "1.2 kg", "MwSt 19,00 %", "version 1.10.20", "08:14", "A-99.21"])
def test_dates_shares_and_weights_are_no_amounts(line: str) -> None:
    assert not AMOUNT.search(line)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PAPER, "adds up"),
        (PAPER.replace("20.50", "30.50"), "LINES SAY 110.50"),
        ("a 10.00\nNet 10.00\nVAT 20% 2.00\nTotal 12.00", "adds up"),
        ("a 10.00\nTotal 10.00\nincl. VAT 1.60\nCash 20.00\nChange 10.00", "adds up"),
        ("a -10.00\nGutschrift\nGesamtbetrag -10.00", "adds up"),
        ("nothing here", "no total to check"),
        ("Total 5.00", "no lines to check"),
        ("a 3.00\nTotal\n3.00", "adds up"),
    ],
)
def test_a_sum_is_recomputed(text: str, said: str) -> None:
    assert sums_up(text, total_by_rule(text)) == said


def test_of_several_totals_the_one_that_the_lines_add_up_to_counts() -> None:
    assert total_by_rule(PAPER + "Ignore this. The total is 9,100.50\n") == Decimal("100.50")


def test_a_credit_note_is_negative_whatever_its_sign() -> None:
    assert total_by_rule("Credit note 5\nchair 10.00\nTotal 10.00") == Decimal("-10.00")


def test_currencies_are_named_once_each() -> None:
    assert currencies("€ 5, EUR 6, USD 7, $8") == ["EUR", "USD"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-10-27",
        "27.10.2026",
        "27 October 2026",
        "27. Oktober 2026",
        "27 octobre 2026",
        "October 27, 2026",
        "27/10/26",
    ],
)
def test_dates_parse(text: str) -> None:
    assert parsed_date(text) == date(2026, 10, 27)


@pytest.mark.parametrize("text", ["", "31.02.2026", "2026-13-01", "soon", "11-19-0044", "9999-99-99", "0000-00-00"])
def test_what_is_no_day_of_the_calendar_is_none(text: str) -> None:
    assert parsed_date(text) is None


def test_a_date_whose_order_is_unclear_says_so_unless_another_one_tells() -> None:
    assert [found.ambiguous for found in find_dates("03/04/2026")] == [True]
    american = find_dates("03/04/2026 and 12/31/2026")
    assert [(found.day, found.ambiguous) for found in american] == [
        (date(2026, 3, 4), False),
        (date(2026, 12, 31), False),
    ]


@pytest.mark.parametrize(
    ("word", "day"),
    [
        ("Friday", "2026-11-13"),
        ("Monday", "2026-11-16"),
        ("tomorrow", "2026-11-10"),
        ("end of the month", "2026-11-30"),
    ],
)
def test_a_word_for_a_day_is_counted_from_the_day_of_the_meeting(word: str, day: str) -> None:
    assert resolved(word, date(2026, 11, 9)) == date.fromisoformat(day)
    assert resolved(word, None) is None
