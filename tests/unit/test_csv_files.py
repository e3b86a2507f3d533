"""CSV files: no cell is a formula in any spreadsheet, and nothing in it is unseen."""

import time

import pytest

from blocks.writing.csv_files import csv_text, plain


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("＝1+1", "'＝1+1"),
        ("\u200b=1+1", "'=1+1"),
        ("\x1b[0m=1+1", "'=1+1"),
        ("a;=cmd()", "a;'=cmd()"),
        ("a\t@SUM(1)", "a\t'@SUM(1)"),
        ("a; - b", "a; - b"),
        ("a-b; 5", "a-b; 5"),
        ("x \ud800 y", "x \ufffd y"),
        ("\u202eevil", "evil"),
    ],
)
def test_a_cell_is_seen_and_never_a_formula(value: str, shown: str) -> None:
    assert plain(value) == shown
    assert plain(shown) == shown


def test_a_number_with_a_tail_of_blanks_takes_no_time() -> None:
    begin = time.monotonic()
    assert plain("-1" + " " * 20_000 + "x").startswith("'-1")
    assert time.monotonic() - begin < 0.2


def test_a_head_is_never_a_formula() -> None:
    assert csv_text(["=1+1", "b"], []) == "'=1+1,b\n"
