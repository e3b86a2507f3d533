"""The sample inputs: each parses, holds what the README promises, and has what its check should find."""

from pathlib import Path

import pytest

from blocks.checking.actions import actions
from blocks.checking.amounts import sums_up, total_by_rule
from blocks.checking.clusters import clustered
from blocks.checking.contracts import contract
from blocks.checking.dates import parsed_date
from blocks.checking.flaky import Health, unsound
from blocks.checking.papers import paper
from blocks.reading.documents import read_documents
from blocks.reading.junit import read_runs
from blocks.reading.logs import INFO, read_log
from blocks.reading.places import CHECKOUT, read_text

SAMPLES = "flows/samples"


@pytest.mark.parametrize(("folder", "count"), [("invoices", 17), ("receipts", 11)])
def test_documents_have_a_date_and_a_total(folder: str, count: int) -> None:
    items = read_documents(f"{SAMPLES}/{folder}", max_items=100)
    assert len(items) == count
    values = [paper(item)[0].by_rules for item in items]
    assert all(
        parsed_date(told["date"]) and told["number"] and total_by_rule(i.text)
        for told, i in zip(values, items, strict=True)
    )


def test_minutes_hold_actions_and_contracts_a_begin_and_a_notice_period() -> None:
    minutes = read_documents(f"{SAMPLES}/minutes", max_items=100)
    assert [len(actions(item)) >= 3 for item in minutes] == [True] * 6
    contracts = [contract(item)[0].by_rules for item in read_documents(f"{SAMPLES}/contracts", max_items=100)]
    assert [bool(told["begin"] and told["notice"]) for told in contracts] == [True] * 6


def test_the_invoice_that_does_not_add_up_is_found() -> None:
    [text] = [i.text for i in read_documents(f"{SAMPLES}/invoices", max_items=100) if i.id.startswith("77-2026")]
    assert sums_up(text, total_by_rule(text)) == "LINES SAY 222.00"


def test_one_invoice_is_no_utf_8() -> None:
    name = f"{SAMPLES}/invoices/RE-20418-strom.txt"
    with pytest.raises(UnicodeDecodeError):
        (CHECKOUT / name).read_bytes().decode()
    assert "Hafenstraße" in read_text(name)


def test_the_application_log_holds_a_burst_and_folded_traces() -> None:
    log = read_log(f"{SAMPLES}/logs/app.log", max_bytes=10_000_000)
    assert log.lines > 1500
    clusters = clustered(record for record in log.records if record.level != INFO)
    assert max(c.count for c in clusters if "timed out" in c.template) >= 27
    assert any("KeyError: # | File #" in cluster.template for cluster in clusters)
    assert clusters[0].level == "critical"


@pytest.mark.parametrize(("name", "least"), [("access.log", 1500), ("journal.jsonl", 800)])
def test_a_log_is_long_and_most_of_it_is_in_order(name: str, least: int) -> None:
    log = read_log(f"{SAMPLES}/logs/{name}", max_bytes=10_000_000)
    assert log.lines >= least
    assert 0.5 * len(log.records) < sum(record.level == INFO for record in log.records) < 0.9 * len(log.records)


def test_the_test_runs_hold_flaky_broken_and_mended_tests() -> None:
    runs = read_runs(f"{SAMPLES}/junit", max_runs=20, max_bytes=100_000)
    assert len(runs.runs) == 10
    states = [state for _, state, _ in unsound(runs.cases)]
    assert {state: states.count(state) for state in Health} == {
        Health.FLAKY: 4,
        Health.BROKEN: 1,
        Health.MENDED: 1,
        Health.SOUND: 0,
    }


def test_samples_name_only_reserved_hosts() -> None:
    """example.org and its kin (RFC 2606, RFC 6761): a sample must not point at anybody's server."""
    texts = [path.read_text(encoding="latin-1") for path in Path(CHECKOUT, SAMPLES).rglob("*") if path.is_file()]
    hosts = {part.split("/")[0].split('"')[0] for text in texts for part in text.split("https://")[1:]}
    assert {host for host in hosts if "example" not in host} == set()
