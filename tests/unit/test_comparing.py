"""What is compared with what: clauses find their earlier version, quotes stand, and a reading fits what it is of."""

import time
from pathlib import Path

import pytest

from blocks.checking import terms
from blocks.checking.drift import AGREE, CONTRADICT, UNRELATED, reading_rule
from blocks.checking.quotes import verbatim
from blocks.checking.terms import GONE, verdict
from blocks.checking.terms import NEW as NEW_CLAUSE
from blocks.reading.claims import Quote
from blocks.reading.clauses import Change, Compared, clauses, paired

OLD = "# Terms\n\n1. Pay within 30 days.\n\n2. We may change it.\n\n3. Dogs are fine.\n\n4. The end."
NEW = OLD[:9] + "1. Pay within 14 days.\n\n2. We must not change it.\n\n3. The end.\n\n4. A wholly other clause: keys."


def test_clauses_are_paired_and_their_change_is_named() -> None:
    found = paired(clauses("a", OLD), clauses("b", NEW))
    assert [verdict(change) for change in found.changes] == [
        "figures changed: 30 → 14",
        "duties changed: may → must, not",
        "clause is gone",
        "new clause",
    ]
    assert found.stayed == 2  # the heading, and what only got another number


@pytest.mark.parametrize(
    ("old", "new", "means"),
    [
        ("1. a b c", "2. a b c", None),
        ("The fee is due\nin March.", "The fee is\ndue in March.", None),
        ("It is 10 EUR.", "It is 10 EUR, payable.", "words changed"),
        ("", "New.", "new clause"),
    ],
)
def test_wraps_and_numbers_of_clauses_are_no_change(old: str, new: str, means: str | None) -> None:
    found = paired(clauses("a", old), clauses("b", new))
    assert [verdict(change) for change in found.changes] == ([means] if means else [])


def compared(old: list[str], new: list[str]) -> Compared:
    return paired(clauses("a", "\n\n".join(old)), clauses("b", "\n\n".join(new)))


def test_of_thousands_of_clauses_only_what_lies_between_changes_is_bounded() -> None:
    told = [f"{n}. Clause {n}" for n in range(3000)]
    late = [*told[:2500], "7. Pay 98.", *told[2501:]]
    found = compared(told, late)
    assert ([verdict(change) for change in found.changes], found.stayed, found.left) == ([NEW_CLAUSE, GONE], 2999, 0)
    found = compared(told, [*late[:5], "6. Pay 99.", *late[5:]])
    assert [(verdict(change), change.new and change.new.text) for change in found.changes] == [
        (NEW_CLAUSE, "6. Pay 99.")
    ]
    assert (found.stayed, found.left) == (5 + 399 + 499, 2097)


def test_clauses_without_a_like_one_are_paired_in_no_time() -> None:
    begin = time.process_time()
    found = compared(*([f"{n}. {side}{n} " + f"{side}{n % 7} the and of " * 40 for n in range(120)] for side in "ab"))
    assert len(found.changes) == 240 - sum(None not in (change.old, change.new) for change in found.changes)
    assert time.process_time() - begin < 3


@pytest.mark.parametrize(
    ("said", "held", "right", "wrong"),
    [
        ("`--x` waits 10 s.", 'add("--x", default=10)', AGREE, CONTRADICT),
        ("`--x` waits 10 s.", 'add("--x", default=20)', CONTRADICT, AGREE),
        ("`--x` waits for the server.", 'add("--x", help="waits for a server")', AGREE, UNRELATED),
        ("`--x` is old.", "echo --x", UNRELATED, CONTRADICT),
    ],
)
def test_a_reading_of_two_lines_fits_their_words_and_numbers(said: str, held: str, right: str, wrong: str) -> None:
    rule = reading_rule("--x", said, held)
    assert rule(right) == []
    assert rule(wrong) != []


def test_a_reading_of_a_change_names_what_did_change() -> None:
    old, new = "2.1 You pay the fee within 30 days.", "2.1 You pay the fee within 14 days."
    choices = terms.readings(old, new, is_open=False)
    assert [choice for choice in choices if terms.reading_rule(old, new)(choice) == []] == [
        f"{reading}: {figure}" for reading in (terms.BETTER, terms.WORSE) for figure in (14, 30)
    ]
    assert len(choices) == 8
    assert terms.readings("a, b", "a; b", is_open=True) == (terms.BETTER, terms.WORSE, terms.SAME)


def test_a_forged_quote_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one\ntwo\n")
    cases = {("a.md", 2, "two"): True, ("a.md", 1, "two"): False, ("b.md", 1, "one"): False, ("a.md", 9, "x"): False}
    assert {case: verbatim(str(tmp_path), Quote(*case)) for case in cases} == cases
    assert verdict(Change(None, Quote("a", 1, "x"))) == "new clause"
