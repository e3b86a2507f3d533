"""triage: one row a message, whatever the model said."""

from blocks.reading.items import Item
from flows.triage import page
from governor.answers import Answer

LABELS = {"billing": "a payment", "shipping": "a parcel"}


def answer(phrase: str, verified: bool = True) -> Answer:
    return Answer(phrase, phrase, verified, [], tier="tiny", model="m", demo=True, reason="")


def test_every_message_has_its_row_and_unlabelled_ones_say_so() -> None:
    items = [Item(id=f"#{n}", title=f"title {n}", text="") for n in range(3)]
    text = page(items, [answer("a payment"), answer("a parcel"), answer("", verified=False)], LABELS)
    rows = [line for line in text.splitlines() if line.startswith("| #")]
    assert [row.split(" | ")[2] for row in rows] == ["billing", "shipping", "unlabelled"]
    assert "no label passed" in rows[2]
    assert text.startswith("3 messages:")
