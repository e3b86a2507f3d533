"""digest: every entry in one section, the feed's links only, and whose sentence it is."""

from blocks.checking.prose import LINK
from blocks.reading.items import Item
from flows.digest import page, topic_request
from governor.answers import Answer

TOPICS = {"traffic": "traffic and buses", "culture": "culture and sport"}
ITEMS = [
    Item(id=str(n), title=f"Entry {n}", text=f"The ferry {n} runs. Then more.", url=f"https://x.example/{n}")
    for n in (1, 2)
]


def answer(text: str, verified: bool) -> Answer:
    return Answer(text, text, verified, [], tier="heavy", model="m", demo=True, reason="")


def test_a_refused_summary_is_replaced_by_the_sources_first_sentence() -> None:
    topics = [answer("traffic and buses", True), answer("", False)]
    text = page(ITEMS, topics, [answer("Said by the model.", True), answer("https://evil.example", False)], TOPICS)
    assert "Said by the model. *(demo model, 135M)*" in text
    assert "The ferry 2 runs. *(by rules only)*" in text
    assert "## traffic" in text
    assert "## unsorted" in text


def test_every_link_of_the_page_stands_in_the_feed() -> None:
    text = page(ITEMS, [answer("culture and sport", True)] * 2, [answer("x", False)] * 2, TOPICS)
    assert {link.split(")")[0] for link in LINK.findall(text)} == {item.url for item in ITEMS}


def test_a_topic_can_only_be_one_of_the_given() -> None:
    assert topic_request(ITEMS[0], TOPICS).choices == tuple(TOPICS.values())
