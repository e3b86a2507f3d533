"""What a round came to by kind, and the file that says all of it."""

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from deployments.by_kind import EVERYTHING, Tally, by_kind, in_one_line, kind_table, tally
from deployments.held_round import sum_up
from deployments.round_file import Round, as_facts, write_round
from deployments.screen import Screen
from deployments.summary import Outcome
from governor.settings import Home

BEGAN = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
INBOX = Outcome(
    "triage/inbox",
    "written",
    calls_model=5,
    calls_rules=2,
    calls_remembered=1,
    calls_first=3,
    calls_later=1,
    line_seconds=10.4,
    desk_seconds=20.0,
    output_path="/somewhere/page.md",
    ended_at=BEGAN + timedelta(seconds=31),
)
LEADS = Outcome("triage/leads", "could_not", calls_rules=3, desk_seconds=2.0)
LINKS = Outcome("check/links", "written", ended_at=BEGAN + timedelta(seconds=90))
LOST = Outcome("log_watch/app", "failed", calls_first=2, crashed=True, recorded=False, message="gone")
ALL = (INBOX, LEADS, LINKS, LOST)


def done(*outcomes: Outcome, only: tuple[str, ...] = ()) -> Round:
    times = (BEGAN - timedelta(seconds=15), BEGAN, BEGAN + timedelta(minutes=2))
    return Round(outcomes, *times, only)


def test_every_request_counts_once_by_how_it_was_answered() -> None:
    [triage, check, log_watch] = by_kind(ALL)
    assert triage == Tally("triage", 2, 1, 1, 0, 0, 0, 3, 1, 5, 1, 5, 22.0, 10.4)
    assert triage.calls == 10 and triage.verified_share == 0.5
    assert (check.calls, check.verified_share) == (0, None)
    # It ended before it counted: what is on record counts.
    assert (log_watch.kind, log_watch.failed, log_watch.calls, log_watch.verified) == ("log-watch", 1, 2, 2)


def test_a_total_is_the_sum_of_its_kinds() -> None:
    total = tally(EVERYTHING, ALL)
    kinds = by_kind(ALL)
    for name in ("agents", "written", "could_not", "failed", "first_try", "later", "rules", "calls", "verified"):
        assert getattr(total, name) == sum(getattr(kind, name) for kind in kinds), name


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (ALL, "2.0 minutes; 7 of 12 calls (58%) verified with the model's own text: 5 at the first try, 1 after"),
        ((LINKS,), "2.0 minutes; no model was asked"),
    ],
)
def test_the_sum_says_the_minutes_and_the_share(outcomes: tuple[Outcome, ...], said: str) -> None:
    assert said in in_one_line(tally(EVERYTHING, outcomes), 120.0)


def test_table_has_a_row_a_kind_and_the_sum() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(kind_table(by_kind(ALL), tally(EVERYTHING, ALL)))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # a StringIO
    cells = [[cell.strip() for cell in line.strip("│┃").split("│")] for line in lines if "│" in line]
    assert ["triage", "2", "1", "1", "3", "1", "5", "1", "22", "10"] in cells
    assert cells[-1][:3] == ["all", "4", "2"]


def test_the_file_says_everything_and_names_outputs_inside_the_state_folder(hotdesk_home: Home) -> None:
    page = hotdesk_home.out / "digest" / "one.md"
    path = write_round(hotdesk_home, done(*ALL, Outcome("digest/news", "written", output_path=str(page)), only=("a",)))
    assert path == hotdesk_home.logs / "round.json"
    facts = json.loads(path.read_text())
    assert (facts["round_seconds"], facts["up_seconds"], facts["first_output_seconds"]) == (120.0, 135.0, 46.0)
    assert (facts["exit_code"], facts["crashed"], facts["only"]) == (1, 1, ["a"])
    assert [kind["kind"] for kind in facts["kinds"]] == ["triage", "check", "log-watch", "digest"]
    assert facts["total"]["agents"] == len(facts["agents"]) == 5
    assert facts["kinds"][0]["verified_share"] == 0.5
    assert facts["agents"][-1]["output_path"] == "out/digest/one.md"
    assert facts["agents"][0]["ended_at"] == "2026-11-25T12:00:31+00:00"


def test_a_round_of_nobody_is_written_down_too(hotdesk_home: Home) -> None:
    facts = as_facts(done())
    assert facts["total"]["verified_share"] is None and facts["kinds"] == [] and facts["exit_code"] == 1


def test_a_file_that_cannot_be_written_does_not_hide_what_the_round_came_to(hotdesk_home: Home, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    nowhere = Home(tmp_path / "nowhere")
    assert sum_up(nowhere, Screen(console), done(LINKS), ["an advice"]) == 0
    said = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    for word in ("1 of 1 agents wrote", "by kind", "could not be written", "an advice"):
        assert word in said
