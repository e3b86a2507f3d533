"""Sample feeds and messages: each is read whole, with the mess that it was given, and its labels are its agent's."""

import csv
from pathlib import Path

import pytest

from blocks.reading.feeds import read_feed
from blocks.reading.messages import read_messages
from blocks.reading.places import CHECKOUT
from deployments.fleet import read_fleet

SAMPLES = "flows/samples"
LABELS = Path(CHECKOUT, "tests/benchmarks/labels/triage.csv")
ENTRIES = [entry for entry in read_fleet() if entry.entrypoint == "flows/triage.py:triage"]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("feeds/news.atom.xml", 28),
        ("feeds/tech.rss.xml", 28),
        ("feeds/regulation.atom.xml", 26),
        ("feeds/competitor.rss.xml", 26),
        ("mentions", 26),
    ],
)
def test_a_feed_has_titles_and_texts_and_its_mess_is_found_out(name: str, count: int) -> None:
    found = read_feed(f"{SAMPLES}/{name}")
    items = found.items
    assert found.problems == []
    assert len(items) == len({item.id for item in items}) == count
    assert all(item.title and item.text and "<" not in item.title + item.text for item in items)
    assert [item.at for item in items[-2:]] == [None, None]
    assert all(item.at for item in items[:-2])
    assert 1 <= sum(not item.url for item in items) <= 4
    assert "\ufffd" not in "".join(item.text for item in items)
    assert "Ã" not in "".join(item.text for item in items)


@pytest.mark.parametrize(
    ("name", "count"),
    [("maildir", 237), ("support.mbox", 60), ("issues.json", 60), ("leads.csv", 52), ("feedback.csv", 52)],
)
def test_messages_have_ids_of_their_own_and_something_to_say(name: str, count: int) -> None:
    [entry] = [e for e in ENTRIES if e.parameters["parameters"]["source"] == f"{SAMPLES}/{name}"]
    told = entry.parameters["parameters"]
    items = read_messages(told["source"], columns=told.get("columns"), own=told.get("own", ())).items
    assert len({item.id for item in items}) == len(items) == count
    assert all(item.title for item in items)
    assert sum(not item.text for item in items) <= 2
    assert "\ufffd" not in "".join(item.title + item.text + item.sender for item in items)


def test_every_label_of_a_message_is_one_of_its_agent_and_its_item_is_there() -> None:
    with LABELS.open(newline="") as file:
        labels = list(csv.DictReader(file))
    assert len(labels) >= 400
    for entry in ENTRIES:
        told = entry.parameters["parameters"]
        mine = {row["id"]: row["label"] for row in labels if row["agent"] == f"triage/{entry.name}"}
        items = read_messages(told["source"], columns=told.get("columns"), own=told.get("own", ())).items
        assert len(mine) >= 50
        assert set(mine) <= {item.id for item in items}
        assert set(mine.values()) == set(told["labels"])
