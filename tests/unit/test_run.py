"""The frame of a run: what it took, asked, remembered and wrote, and how it ended."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.schemas.objects import State
from sqlalchemy import select

from blocks.agent import CouldNot, agent
from blocks.lateness import Late
from blocks.parameters import AgentParameters
from blocks.reading.items import Item
from blocks.router import ModelRouter
from blocks.run import Run
from governor import remembered
from governor.errors import LeftLine
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest
from governor.profile import current_profile
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import reading
from tests.unit.fleet_stage import Ran, run_flow

ITEMS = [Item(id=f"#{n}", title=f"Item {n}", text=f"Text {n}, see https://a.example/{n}") for n in range(5)]
TOLD = AgentParameters(source="none", max_items=3)


@flow
def labels(parameters: AgentParameters) -> State:
    """An agent with one label for each item."""
    with agent(parameters) as run:
        items = run.take(ITEMS)
        asked = [ModelRequest(kind=Kind.CLASSIFY, prompt=item.text, choices=("yes", "no")) for item in items]
        answers = run.ask_all(asked)
        if not any(answer.verified for answer in answers):
            raise CouldNot("nothing passed", facts="- a fact <b>bold</b>")
        run.write("Labels", "\n".join(f"- {answer.text}" for answer in answers), files={"rows.csv": "id\n"})
    return run.state


def latest() -> AgentRun:
    with reading() as session:
        return session.scalars(select(AgentRun).order_by(AgentRun.id.desc())).first() or AgentRun()


def provenance(files: dict[str, str]) -> dict[str, Any]:
    [text] = [text for name, text in files.items() if name.endswith(".provenance.json")]
    return json.loads(text)


def test_what_a_run_read_and_wrote_is_told_beside_its_outputs(hotdesk_home: Home):
    ran = run_flow(labels, TOLD, lambda _request: "yes")
    told = provenance(ran.files)
    assert told["inputs"] == {item.id: item.sha256 for item in ITEMS[:3]}
    assert told["calls"] == [{"tier": "fake", "model": "fake", "calls": 3, "verified": 3}]
    assert sorted(told["files"]) == sorted(set(ran.files) - {name for name in ran.files if "provenance" in name})
    assert (latest().state, latest().calls_model, latest().calls_remembered) == ("written", 3, 0)


def test_a_second_run_of_the_same_inputs_asks_nothing_and_writes_the_same_bytes(hotdesk_home: Home):
    first = run_flow(labels, TOLD, lambda _request: "yes")
    again = run_flow(labels, TOLD, lambda _request: "no")
    assert again.asked == []
    assert {n: t for n, t in again.files.items() if "provenance" not in n} == {
        n: t for n, t in first.files.items() if "provenance" not in n
    }
    assert (latest().calls_model, latest().calls_remembered) == (3, 3)
    assert provenance(again.files)["confirmed_by"] == "by-hand"


def test_only_what_is_new_is_asked(hotdesk_home: Home):
    run_flow(labels, TOLD, lambda _request: "yes")
    ran = run_flow(labels, TOLD.model_copy(update={"max_items": 5}), lambda _request: "no")
    assert [request.prompt for request in ran.asked] == [item.text for item in ITEMS[3:]]


def test_who_has_nothing_that_passed_says_so_with_its_facts(hotdesk_home: Home):
    ran = run_flow(labels, TOLD, lambda _request: "perhaps")
    assert ran.state.name == "CouldNot"
    [page] = [text for name, text in ran.files.items() if name.endswith(".could-not.md")]
    assert "a fact" in page and "Could not" in page and "<b>" not in page
    assert (latest().state, latest().calls_model, latest().calls_rules) == ("could_not", 0, 3)


def test_a_could_not_leaves_the_page_of_the_day_and_the_next_page_takes_it_away(hotdesk_home: Home):
    first = run_flow(labels, TOLD, lambda _request: "yes")
    other = TOLD.model_copy(update={"max_items": 5})
    remembered.forget()
    second = run_flow(labels, other, lambda _request: "perhaps")
    assert second.page == first.page
    assert {name for name in second.files if "could-not" in name} == {
        f"{first_day(first)}.could-not.md",
        f"{first_day(first)}.could-not.provenance.json",
    }
    third = run_flow(labels, other, lambda _request: "yes")
    assert not [name for name in third.files if "could-not" in name]


def first_day(ran: Ran) -> str:
    return next(name for name in ran.files if name[:2] == "20").split(".")[0]


@flow
def hostile(parameters: AgentParameters) -> State:
    """An agent whose title, page and files hold what others wrote."""
    with agent(parameters) as run:
        run.saw("x", "0" * 64)
        run.write(
            "News ![x](https://evil.example/p.png) <img src=x>",
            "see https://evil.example/q and [here](https://evil.example/r)",
            files={"a.json": '{"a": "\u202eabc\x1b[31m"}', "b.bin": b"\x1b"},
        )
    return run.state


def test_title_page_and_files_are_made_safe(hotdesk_home: Home):
    files = run_flow(hostile, TOLD, lambda _request: None).files
    page = next(text for name, text in files.items() if name.endswith(".md"))
    assert "evil.example" not in page and "<img" not in page and "![" not in page.replace("\\!", "")
    assert "\u202e" not in files["a.json"] and "\x1b" not in files["a.json"]
    assert files["b.bin"] == "\x1b"


def test_a_run_that_is_too_late_does_nothing_and_says_why(hotdesk_home: Home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blocks.agent.flow_run", FakeFlowRun())
        ran = run_flow(labels, TOLD.model_copy(update={"late": Late.SKIP}), lambda _request: "yes")
    assert ran.state.name == "Skipped"
    assert (ran.asked, ran.files) == ([], {})
    assert latest().state == "skipped"
    assert "it was expected at 2026-11-25 06:45 UTC" in (latest().message or "")


class FakeFlowRun:
    """A FAKE of Prefect's runtime: a scheduled run that nobody sees."""

    id = None
    flow_name = "agent"
    tags = ("auto-scheduled",)
    scheduled_start_time = datetime(2026, 11, 25, 6, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expected", "zone", "day", "due"),
    [
        (datetime(2026, 11, 25, 5, 31, tzinfo=UTC), "UTC", "2026-11-25", datetime(2026, 11, 25, 7, 0, tzinfo=UTC)),
        (datetime(2026, 11, 25, 23, 30, tzinfo=UTC), "Europe/Berlin", "2026-11-26", None),
    ],
)
def test_outputs_and_due_times_belong_to_the_day_that_was_expected(
    hotdesk_home: Home, expected: datetime, zone: str, day: str, due: datetime | None
):
    told = AgentParameters(source="none", timezone=zone, due="07:00" if due else None)
    run = Run("a/b", 1, None, False, told, expected_at=expected, late_seconds=timedelta(hours=3).total_seconds())
    assert (run.day, run.due_at) == (day, due)


def test_files_stay_in_the_agents_own_folder(hotdesk_home: Home):
    run_flow(labels, TOLD, lambda _request: "yes")
    out = hotdesk_home.out
    assert {path.parent for path in out.rglob("*") if path.is_file()} == {out / "agent-by-hand"}
    run = Run("a/b", 1, None, False, TOLD, expected_at=datetime.now(UTC))
    for name in ("../x", "/etc/x", "a/../../x", ".hidden", "", "2026-11-25.provenance.json"):
        with pytest.raises(ValueError, match="name"):
            run.write("t", "m", files={name: "x"})
    assert not Path(hotdesk_home.root / "x").exists()


def test_a_run_that_left_the_line_says_how_long_it_stood_there(hotdesk_home: Home):
    def leaves(_request: ModelRequest) -> str:
        raise LeftLine("it left", remedy="later", line_seconds=7.5, desk_seconds=0.5)

    ran = run_flow(labels, TOLD, leaves)
    assert ran.state.name == "Skipped"
    assert (latest().line_seconds, latest().desk_seconds) == (7.5, 0.5)


@pytest.mark.parametrize(
    ("request_", "sizes", "router", "largest"),
    [
        ({"kind": Kind.CLASSIFY}, {}, {}, 0.135),
        ({"kind": Kind.EMBED}, {}, {}, 0.0),
        ({"kind": Kind.SUMMARISE}, {"coder": {"kinds": frozenset({Kind.CODE})}}, {}, 0.135),
        ({"kind": Kind.CODE}, {"coder": {"kinds": frozenset({Kind.CODE})}}, {}, 7.0),
        ({"kind": Kind.SUMMARISE}, {"big": {}}, {}, 7.0),
        ({"kind": Kind.SUMMARISE}, {"big": {}}, {"always_quick": True}, 0.135),
        ({"kind": Kind.SUMMARISE}, {"big": {}}, {"allow_gpu": False}, 0.135),
    ],
)
def test_only_models_that_may_do_a_request_make_an_old_answer_stale(
    hotdesk_home: Home, request_: dict[str, Any], sizes: dict[str, Any], router: dict[str, Any], largest: float
):
    on = current_profile()
    heavy = on.tiers["heavy"].model_copy(update={"parameters_billion": 7.0, "line": "gpu"})
    tiers = {**on.tiers, **{name: heavy.model_copy(update=changes) for name, changes in sizes.items()}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blocks.router.current_profile", lambda: on.model_copy(update={"tiers": tiers}))
        asked = ModelRequest(prompt="x", inputs={"a": "b"}, **request_)
        assert ModelRouter(**router).largest_billion(asked) == largest
