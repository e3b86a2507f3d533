"""The truth about the fleet's samples: every item has one, it is one of what may be said, and the paper says so."""

from datetime import date

import pytest

from blocks.reading.documents import read_documents
from flows.extract import amount, by_rules, parsed_date, total_by_rule
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


def test_every_agent_that_chooses_or_fills_in_has_a_truth():
    assert set(labels()) == set(entries())
    assert FILLING and CHOOSING


@pytest.mark.parametrize("agent", CHOOSING)
def test_every_item_stands_under_a_label_of_its_agent_and_nothing_else_does(agent: str):
    written = labels()[agent]
    assert set(written) - {NOTHING_FITS} == set(phrases(agent))
    known = [item.id for item in items(agent)]
    assert {item for ids in written.values() for item in ids} == set(known)
    assert len(known) == len(set(known))
    assert all(len(ids) == len(set(ids)) for ids in written.values())
    assert not any(truth(agent, item) for item in written.get(NOTHING_FITS, []))


@pytest.mark.parametrize("agent", FILLING)
def test_every_document_has_all_fields_as_its_paper_says(agent: str):
    source = entries()[agent].parameters["parameters"]["source"]
    papers = {item.id: item.text for item in read_documents(source, max_items=100)}
    assert set(labels()[agent]) == set(papers)
    for name, row in labels()[agent].items():
        assert set(row) == set(FIELDS)
        assert all(form in papers[name] for form in (*row["vendor"], *row["number"]))
        assert date.fromisoformat(row["date"]) == parsed_date(by_rules(papers[name])["date"])
        assert amount(row["total"]) == total_by_rule(papers[name])


def test_the_questions_are_those_of_the_flows_and_each_knows_its_truth():
    asked = questions()
    assert len(asked) == 80
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
