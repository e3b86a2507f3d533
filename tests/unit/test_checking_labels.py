"""Labels by words: the one that is named most, or none; and which items name a word."""

import pytest

from blocks.checking.labels import by_words, naming
from blocks.checking.retold import retold
from blocks.reading.items import Item

LABELS = {"billing": "a payment or a refund", "shipping": "a parcel or a delivery"}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Where is my parcel? The delivery was due.", "shipping"),
        ("I want a REFUND for both payments", "billing"),
        ("A refund for the parcel", None),
        ("the and for", None),
        ("", None),
        ("Good morning", None),
    ],
)
def test_the_label_that_is_named_most_speaks_and_a_tie_says_nothing(text: str, label: str | None) -> None:
    assert by_words(text, LABELS) == label


def test_no_labels_is_no_label() -> None:
    assert by_words("parcel", {}) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("We like Hot Desk.", True),
        ("HOT  DESK!", True),
        ("hot des\u00adk", True),
        ("hot desks", False),
        ("a hot desktop", False),
        ("ﾊhot desk", False),
        ("C++ (beta)", True),
        ("C (beta)", False),
    ],
)
def test_only_whole_words_name_something(text: str, kept: bool) -> None:
    assert bool(naming([Item(id="1", title="", text=text)], ["hot desk", "c++", " "])) is kept


def test_without_words_all_are_kept() -> None:
    items = [Item(id="1", title="a", text="b")]
    assert naming(items, []) == items
    assert naming(items, [" "]) == items


SOURCE = "The ferry of courier.example.org runs again from Monday; two charging arms were replaced for 240 euros."


def test_a_sentence_in_the_sources_words_stands() -> None:
    assert retold(SOURCE)("The ferry runs again from Monday, after two charging arms were replaced.") == []


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Ferry runs.",
        "The ferry runs again from Monday for 250 euros.",
        "The ferry runs again from Monday, see evil.example for the charging arms.",
        "The ferry runs again from Monday, says https://courier.example.org/2 of the arms.",
        "The bakery closes and its owner retires; the ferry runs again.",
        "The ferry runs again from Monday. " * 20,
    ],
)
def test_a_sentence_with_anything_new_falls(said: str) -> None:
    assert retold(SOURCE)(said)
