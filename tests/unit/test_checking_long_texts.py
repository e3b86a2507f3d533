"""Texts made to keep the forms busy: each takes about as long as it is long."""

import time
from collections.abc import Callable, Sequence

import pytest

from blocks.checking.actions import actions
from blocks.checking.contracts import contract
from blocks.checking.forms import Part
from blocks.checking.papers import paper
from blocks.reading.items import Item
from blocks.reading.pages import FRONT_MATTER

# Fifty times what they take on two slow cores; what they guard against took minutes.
MOST_SECONDS = 5.0
Form = Callable[[Item, Sequence[str]], list[Part]]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (actions, "a\n" + "\n" * 20_000 + "b"),
        (contract, "a\n" + "\n" * 20_000 + "b"),
        (contract, "signed 1.1.2026 and\n" * 1200),
        (contract, "not give two weeks \n" * 1200),
        (contract, "provider: Oak and Elm\n" * 4500),
        (paper, "".join(f"Total {n}.00\n" for n in range(1200))),
        (paper, "1.1.2026\n" * 11_000),
    ],
    ids=range(7),
)
def test_no_text_keeps_a_form_busy(form: Form, text: str) -> None:
    begun = time.monotonic()
    form(Item(id="a.txt", title="a", text=text), ["Us"])
    assert time.monotonic() - begun < MOST_SECONDS


def test_front_matter_that_never_comes_ends() -> None:
    begun = time.monotonic()
    assert FRONT_MATTER.match("---\n" + "\n" * 80_000) is None
    assert time.monotonic() - begun < MOST_SECONDS


def test_a_paper_of_many_totals_names_some_of_them() -> None:
    [part] = paper(Item(id="a", title="a", text="".join(f"Total {n}.00\n" for n in range(1, 100))), [])
    assert part.notes[0] == "several totals: 1.00, 2.00, 3.00, 4.00, 5.00 and 94 more"
