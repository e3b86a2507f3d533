"""`hotdesk gains`: what an operator sees of what was learned, and how it is forgotten."""

import json

import pytest

from deployments.gains import NONE, run_gains
from governor.errors import BadInput
from governor.settings import Home
from tests.unit.test_learning import asked, seen


def shown(**wishes: object) -> str:
    return run_gains(**{"kind": None, "model": None, "forget": False, "as_json": False, **wishes})  # type: ignore[arg-type]


def test_nothing_was_judged_yet(hotdesk_home: Home):
    assert shown() == NONE


def test_each_agents_work_is_a_row_and_can_be_narrowed_down_and_forgotten(hotdesk_home: Home):
    seen(asked(), "triage/inbox", "tiny", True, True, False)
    seen(asked(), "triage/issues", "heavy", True)
    assert [line.split()[1] for line in shown().splitlines()[1:3]] == ["triage/inbox", "triage/issues"]
    told = json.loads(shown(model="tiny", as_json=True))
    assert [(row["verified"], row["tried"]) for row in told["counted"]] == [(2, 3)]
    assert told["read"] == [{"kind": "classify", "model": "tiny", "examples": 3, "used": False}]
    assert "forgot tiny: 2 rows" in shown(model="tiny", forget=True)
    assert "triage/inbox" not in shown() and "triage/issues" in shown()


def test_a_kind_that_does_not_exist_forgets_nothing(hotdesk_home: Home):
    seen(asked(), "triage/inbox", "tiny", True)
    with pytest.raises(BadInput, match="Kinds are"):
        shown(kind="sorting", forget=True)
    assert "triage/inbox" in shown()
