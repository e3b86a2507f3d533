"""The one line of a run's output that says which model did what, and why."""

from datetime import timedelta

import pytest

from blocks.why_line import energy_words, line_of_run, one_line, usd_words
from blocks.writing.outputs import page_text
from governor.decided import cost_of, requests_of
from governor.settings import Home
from governor.state.models import Decision
from tests.unit.decision_rows import NOW, OTHER, batch, by_heavy, call, kept, numbered, run_row


def test_a_run_in_one_line_says_how_many_which_model_why_and_what_it_took():
    assert one_line(numbered(batch(wrong=[4]))) == (
        "12 x classify: tiny smollm2-135m (a constrained answer needs no more), 11 verified, 1 by heavy;"
        " 13 s in line, 39 s at work, 90 J, worth $0.0003"
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], ""),
        ([call(verdict="it said nothing")], "1 not verified"),
        (
            [call(verdict="no"), call(request_id="r1", verdict="no"), by_heavy(request_id="r1"), call(request_id="r2")],
            "1 verified, 1 by heavy, 1 not verified",
        ),
        ([call(verdict="too long"), call(attempt=2)], "1 x classify: tiny smollm2-135m (a constrained answer needs no"),
        ([call(), call(request_id="r1", kind="write", tier="heavy")], "1 x write: heavy"),
        ([call(tier="groq/large", model="groq/large")], "classify: groq/large (a constrained"),
        ([call(), call(request_id="r1", shadow_usd=None)], "worth less than $0.0001 (1 of 2 calls have a price)"),
        ([call(energy_joules=7200.0)], "2.0 Wh"),
    ],
)
def test_what_the_line_says_of_other_runs(rows: list[Decision], words: str):
    assert words in one_line(numbered(rows))


def test_the_line_is_silent_about_what_was_not_measured():
    line = one_line(numbered([call(energy_joules=None, shadow_usd=None)]))
    assert " J" not in line and "Wh" not in line and "worth" not in line and "$" not in line


def test_the_wait_of_a_seat_counts_once_for_all_calls_at_it():
    rows = numbered([*batch(count=3), call(request_id="r9", line_seconds=2.5), by_heavy(request_id="r9")])
    assert cost_of(rows).line_seconds == 8.0 + 2.5 + 5.0
    assert cost_of(rows).joules == 90.0


@pytest.mark.parametrize(("usd", "words"), [(0, "$0"), (1e-9, "less than $0.0001"), (0.012, "$0.0120"), (3, "$3.00")])
def test_a_price_too_small_to_show_is_not_nothing(usd: float, words: str):
    assert usd_words(usd) == words


@pytest.mark.parametrize(("joules", "words"), [(0.0, "0 J"), (86.4, "86 J"), (1440, "0.4 Wh")])
def test_energy_is_said_in_the_unit_that_has_a_figure(joules: float, words: str):
    assert energy_words(joules) == words


def test_calls_of_one_request_are_told_in_the_order_of_their_attempts():
    rows = numbered([by_heavy(), call(verdict="no"), call(request_id="", kind="write"), call(request_id="")])
    assert [[c.tier for c in served.calls] for served in requests_of(rows)] == [["tiny", "heavy"], ["tiny"], ["tiny"]]
    assert [served.verified for served in requests_of(rows)] == [True, True, True]


def test_the_line_stands_in_the_output_of_the_run_and_of_no_other(hotdesk_home: Home):
    run = run_row(ended_at=None)
    kept(run, *batch(count=2), call(flow_run_id=OTHER, kind="write"))
    line = line_of_run(run.id)
    assert line.startswith("2 x classify") and "write" not in line
    assert page_text("News", "body", capped=False, why=line) == f"# News\n\nbody\n\n> why: {line}\n"


def test_calls_of_an_attempt_that_crashed_are_not_in_the_line(hotdesk_home: Home):
    run = run_row(started_at=NOW + timedelta(minutes=5), ended_at=None)
    kept(run, call(), call(at=NOW + timedelta(minutes=6), kind="write", request_id="r1"))
    assert line_of_run(run.id).startswith("1 x write")


def test_a_run_whose_records_cannot_be_read_still_has_its_output(hotdesk_home: Home):
    assert line_of_run(404) == ""
    hotdesk_home.database.unlink(missing_ok=True)
    hotdesk_home.database.mkdir()
    assert line_of_run(1) == ""
