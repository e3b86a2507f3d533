"""`hotdesk why`: the records of a run, told so that a person sees which model did what, and why that one."""

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments.why import run_why
from governor.errors import BadInput
from governor.settings import Home
from tests.unit.decision_rows import (
    FITS,
    HEAVY,
    LARGE,
    NEWS,
    NOW,
    OTHER,
    PRIVATE,
    TINY,
    batch,
    by_heavy,
    call,
    kept,
    run_row,
)


def nobody(_name: str) -> list[str]:
    """The server knows no run of that name."""
    return []


def why(wanted: str = "last", *, every: bool = False) -> str:
    return run_why(wanted, as_json=False, every=every, ids_by_name=nobody)


def test_requests_that_went_the_same_way_are_told_once_with_their_number(hotdesk_home: Home):
    kept(run_row(output_path=str(hotdesk_home.out / "digest-news" / "now.md")), *batch(wrong=[4, 7]))
    said = why()
    assert said.splitlines()[:2] == [
        "digest/news, run 2f9c1a04, 2026-11-25 07:00:00 UTC, written after 52 s",
        "  out/digest-news/now.md",
    ]
    assert said.count("classify ->") == 1
    assert "else     tiny" not in said
    flat = " ".join(said.split())
    for words in (
        "12 x classify -> tiny smollm2-135m (embedded, line cpu)",
        f"because {FITS}",
        "expected 2.0 s until it begins, 41 s to the answer, passes its checks 90% of the time",
        f"else heavy qwen2.5:7b: {LARGE}; 60 s until it begins, 12 s to the answer,"
        " passes its checks 98% of the time, weighed as 30 s longer",
        "not cloud: private: these words stay on this machine",
        "asked privacy local only",
        "then 10 x tiny: verified",
        "then 2 x tiny: 'label 4' is none of the choices -> heavy: verified",
        "took 560 tokens read, 28 written, 13 s in line, 42 s at work, 180 J, worth $0.0003",
    ):
        assert words in flat, words


def test_all_tells_each_request_on_its_own(hotdesk_home: Home):
    kept(run_row(), *batch(wrong=[4]))
    said = why(every=True)
    assert said.count("classify -> tiny") == 12
    assert said.splitlines()[-1].startswith("In all: 13 s in line")


def test_choices_that_differ_in_more_than_figures_are_told_apart(hotdesk_home: Home):
    kept(
        call(request_id="a", reason="it fits; 3 ahead"),
        call(request_id="b", reason="it fits; 4 ahead"),
        call(request_id="c", refusals=[]),
        call(request_id="d", privacy="public"),
        call(request_id="e", candidates=[HEAVY, TINY]),
        call(request_id="f"),
    )
    heads = [line for line in why().splitlines() if "->" in line and not line.startswith(" ")]
    assert [head.partition("classify")[0] for head in heads] == ["2 x ", "", "", "", ""]


def test_every_line_fits_a_terminal_and_obeys_no_model(hotdesk_home: Home):
    verdict = "'\x1b[2J\x1b]0;owned\x07" + "very long words " * 30 + "'"
    kept(run_row(), call(verdict=verdict, quality="good", due_at=NOW, refusals=[PRIVATE | {"reason": "x " * 200}]))
    said = why()
    assert max(map(len, said.splitlines())) <= 80
    assert said.replace("\n", "").isprintable()
    assert "quality good, due 2026-11-25 07:00 UTC" in said
    assert "(not verified)" in " ".join(said.split())


def test_a_run_that_called_no_model_says_what_became_of_it(hotdesk_home: Home):
    kept(run_row(state="skipped", message="The cpu line is paused."))
    assert [*why("digest/news").splitlines()] == [
        "digest/news, run 2f9c1a04, 2026-11-25 07:00:00 UTC, skipped after 52 s",
        "  The cpu line is paused.",
        "",
        "It called no model.",
    ]


@pytest.mark.parametrize("wanted", ["last", NEWS, "2f9c1a", "2F9C1A04", "digest/news", " last "])
def test_a_run_is_found_by_id_beginning_agent_or_as_the_last(wanted: str, hotdesk_home: Home):
    kept(
        run_row(flow_run_id=OTHER, agent="triage/mail"),
        call(flow_run_id=OTHER, agent="triage/mail", request_id="x"),
        run_row(flow_run_id="2f9c0000", state="skipped"),
        run_row(),
        call(),
    )
    assert why(wanted).startswith("digest/news, run 2f9c1a04")


def test_a_run_is_found_by_the_name_that_the_server_knows(hotdesk_home: Home):
    kept(run_row(), call(), run_row(flow_run_id=OTHER, agent="triage/mail"))
    names = {"brave-fox": ["00000000-gone", OTHER]}
    said = run_why("brave-fox", as_json=False, every=False, ids_by_name=lambda name: names.get(name, []))
    assert said.startswith("triage/mail, run 2f9c1b05")


def test_a_question_by_hand_is_told_without_the_ones_before_it(hotdesk_home: Home):
    asked: dict[str, Any] = {"flow_run_id": None, "agent": "ask"}
    kept(call(**asked), call(**asked, request_id="r1", verdict="no"), by_heavy(**asked, request_id="r1"))
    for wanted in ("last", "ask"):
        said = why(wanted)
        assert said.startswith("ask, 2026-11-25 07:00:00 UTC\n")
        assert "then     tiny: no -> heavy: verified" in said


def test_a_call_before_there_were_requests_is_told_alone(hotdesk_home: Home):
    old: dict[str, Any] = {"flow_run_id": None, "agent": "ask", "request_id": ""}
    kept(call(**old, kind="write"), call(**old), run_row(flow_run_id=None, agent="ask", started_at=NOW.replace(hour=8)))
    assert why().count("->") == 1
    assert "ask, 2026-11-25 07:00:00 UTC\n" in why()


def test_a_run_by_hand_has_the_calls_of_its_time(hotdesk_home: Home):
    rows: dict[str, Any] = {"flow_run_id": None, "agent": "digest/by-hand"}
    kept(
        call(**rows, at=NOW - timedelta(minutes=1), kind="write"),
        run_row(**rows),
        call(**rows, request_id="r1"),
        call(**rows, at=NOW + timedelta(minutes=1), kind="extract", request_id="r2"),
    )
    said = why("digest/by-hand")
    assert "classify" in said and "write ->" not in said and "extract" not in said


@pytest.mark.parametrize("wanted", ["nobody/here", "deadbeef", "", "%", "'; DROP TABLE decisions; --"])
def test_an_unknown_run_names_the_latest_ones(wanted: str, hotdesk_home: Home):
    kept(run_row(), call(), run_row(flow_run_id=OTHER, agent="triage/mail"))
    with pytest.raises(BadInput) as caught:
        why(wanted)
    assert "2f9c1b05 (triage/mail), 2f9c1a04 (digest/news)" in caught.value.remedy


def test_a_beginning_that_several_runs_have_names_them(hotdesk_home: Home):
    kept(run_row(), run_row(flow_run_id=OTHER))
    with pytest.raises(BadInput, match="2 runs have an id that begins with 2f9c") as caught:
        why("2f9c")
    assert NEWS in caught.value.remedy and OTHER in caught.value.remedy


def test_an_empty_folder_and_a_missing_one_say_what_to_do(
    hotdesk_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kept()
    with pytest.raises(BadInput, match=r"No run is on record yet.*hotdesk up"):
        why()
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="hotdesk up"):
        why()
    assert not (tmp_path / "none").exists()


def test_programs_get_every_request_with_its_attempts(hotdesk_home: Home):
    kept(run_row(), *batch(wrong=[1], count=2, due_at=NOW))
    told = json.loads(run_why("last", as_json=True, every=False, ids_by_name=nobody))
    assert (told["agent"], told["flow_run_id"], told["state"]) == ("digest/news", NEWS, "written")
    assert told["line"].startswith("2 x classify")
    first, second = told["requests"]
    assert [a["tier"] for a in second["attempts"]] == ["tiny", "heavy"]
    assert (first["due_at"], first["privacy"]) == (NOW.isoformat(), "local_only")
    assert (first["candidates"], first["refusals"]) == ([TINY, HEAVY], [PRIVATE])
    assert [a["energy_joules"] for a in second["attempts"]] == [None, 90.0]


def test_rows_of_an_earlier_release_tell_what_they_have(hotdesk_home: Home):
    fixture = Path(__file__).parents[1] / "fixtures" / "state-0.4.0" / "hotdesk.sql"
    hotdesk_home.database.unlink()
    with sqlite3.connect(hotdesk_home.database) as old:
        old.executescript(fixture.read_text())
    said = why("digest/news")
    assert "summarise -> heavy smollm2-135m (embedded)" in said
    assert "because  it fits" in said
    assert "expected" not in said and "else" not in said
