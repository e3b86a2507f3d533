"""The sample inputs: each parses, holds what the README promises, and has what its check should find."""

from pathlib import Path

import pytest

from blocks.reading.documents import read_documents
from blocks.reading.feeds import read_feed
from blocks.reading.mail import read_messages
from blocks.reading.places import CHECKOUT, read_text
from flows.extract import by_rules, parsed_date, sums_up, total_by_rule
from flows.log_watch import cluster

SAMPLES = "flows/samples"


@pytest.mark.parametrize(("name", "count"), [("news.atom", 12), ("tech.rss", 12), ("regulation.atom", 10)])
def test_a_feed_has_titles_texts_and_links_of_its_own(name: str, count: int) -> None:
    items = read_feed(f"{SAMPLES}/feeds/{name}.xml", max_items=100)
    assert len(items) == count
    assert len({item.url for item in items}) == count
    assert all(item.title and item.text and "<" not in item.text for item in items)


@pytest.mark.parametrize(("name", "count"), [("maildir", 12), ("support.mbox", 10), ("issues.json", 12)])
def test_messages_have_ids_of_their_own_and_something_to_say(name: str, count: int) -> None:
    items = read_messages(f"{SAMPLES}/{name}", max_items=100)
    assert len({item.id for item in items}) == count
    assert all(item.title and item.text for item in items)


@pytest.mark.parametrize(("folder", "count"), [("invoices", 7), ("receipts", 6)])
def test_documents_have_a_date_and_a_total(folder: str, count: int) -> None:
    items = read_documents(f"{SAMPLES}/{folder}", max_items=100)
    assert len(items) == count
    assert all(parsed_date(by_rules(item.text)["date"]) and total_by_rule(item.text) for item in items)


def test_the_invoice_that_does_not_add_up_is_found() -> None:
    [text] = [i.text for i in read_documents(f"{SAMPLES}/invoices", max_items=100) if i.id.startswith("77-2026")]
    assert sums_up(text, total_by_rule(text)) == "LINES SAY 222.00"


def test_one_invoice_is_no_utf_8() -> None:
    name = f"{SAMPLES}/invoices/RE-20418-strom.txt"
    with pytest.raises(UnicodeDecodeError):
        (CHECKOUT / name).read_bytes().decode()
    assert "Hafenstraße" in read_text(name)


def test_the_application_log_holds_a_burst() -> None:
    clusters = cluster(read_text(f"{SAMPLES}/logs/app.log").splitlines(), "ERROR|WARNING|CRITICAL")
    template, count, _ = clusters[0]
    assert (count, "timed out" in template) == (27, True)
    assert any("CRITICAL" in found for found, _, _ in clusters)


def test_the_access_log_holds_failed_requests() -> None:
    counted = sum(n for _, n, _ in cluster(read_text(f"{SAMPLES}/logs/access.log").splitlines(), r'" [45]\d\d '))
    assert counted == 14 + 45 + 16 + 8 + 20


def test_samples_name_only_reserved_hosts() -> None:
    """example.org and its kin (RFC 2606, RFC 6761): a sample must not point at anybody's server."""
    texts = [path.read_text(encoding="latin-1") for path in Path(CHECKOUT, SAMPLES).rglob("*") if path.is_file()]
    hosts = {part.split("/")[0].split('"')[0] for text in texts for part in text.split("https://")[1:]}
    assert {host for host in hosts if "example" not in host} == set()
