"""The truth about the fleet's samples: it is one of what may be said, its item is there, and the paper says so."""

from datetime import date

import pytest

from blocks.checking.amounts import amount, total_by_rule
from blocks.checking.dates import find_dates
from blocks.reading.documents import read_documents
from tests.benchmarks.fleet_samples import (
    FIELDS,
    NOTHING_FITS,
    entries,
    items,
    labels,
    phrases,
    questions,
    truth,
)

CHOOSING = [agent for agent in labels() if phrases(agent)]
FILLING = [agent for agent in labels() if not phrases(agent)]


def test_every_agent_with_a_truth_is_one_that_chooses_or_fills_in():
    assert set(labels()) <= set(entries())
    assert FILLING and CHOOSING


@pytest.mark.parametrize("agent", CHOOSING)
def test_every_item_with_a_truth_is_there_and_stands_under_a_label_of_its_agent(agent: str):
    written = labels()[agent]
    assert set(written) - {NOTHING_FITS} <= set(phrases(agent))
    known = [item.id for item in items(agent)]
    assert {item for ids in written.values() for item in ids} <= set(known)
    assert len(known) == len(set(known))
    assert all(len(ids) == len(set(ids)) for ids in written.values())
    assert not any(truth(agent, item) for item in written.get(NOTHING_FITS, []))


@pytest.mark.parametrize("agent", FILLING)
def test_every_document_has_all_fields_as_its_paper_says(agent: str):
    source = entries()[agent].parameters["parameters"]["source"]
    papers = {item.id: item.text for item in read_documents(source, max_items=100)}
    assert set(labels()[agent]) <= set(papers)
    for name, row in labels()[agent].items():
        assert set(row) == set(FIELDS)
        assert all(form in papers[name] for form in (*row["vendor"], *row["number"]))
        assert date.fromisoformat(row["date"]) in {found.day for found in find_dates(papers[name])}
        assert amount(row["total"]) == total_by_rule(papers[name])


def test_the_questions_are_those_of_the_flows_and_each_knows_its_truth():
    asked = questions()
    assert len(asked) > 70
    for question in asked:
        if question.request.choices:
            assert question.request.choices == tuple(phrases(question.agent).values())
            assert question.right <= set(question.request.choices)
            assert not question.is_right("something else")
        else:
            told = {name: question.right[name][0] for name in FIELDS}
            assert question.is_right(told) and not question.is_right({**told, "total": "0.01"})
        assert not question.is_right(None)


def test_a_value_in_the_papers_own_notation_is_right():
    [bill] = [question for question in questions() if question.item == "RE-20418-strom.txt"]
    said = {"vendor": "Stadtwerke Nordhavn GmbH", "number": "RE-20418", "date": "02.11.2026", "total": "1.237,75 EUR"}
    assert bill.is_right(said) and bill.right_fields({**said, "vendor": "Oak & Sons Joinery"}) == 3
