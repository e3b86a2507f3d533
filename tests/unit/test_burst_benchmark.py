"""`python -m tests.benchmarks.burst` and `idle`: what they count, on runs few enough to count by hand."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from deployments.fleet import Entry, read_fleet
from tests.benchmarks.burst import judge, plan, read_options
from tests.benchmarks.burst_family import Family, Moment
from tests.benchmarks.burst_figures import (
    Ended,
    ad_hoc,
    calls_by_path,
    cpu,
    most_called,
    read_notes,
    refused,
    requests,
    times,
)
from tests.benchmarks.idle_case import memory, quiet
from tests.benchmarks.report import Report

NOTES = {
    "a": {
        "first_line_at": 101.0,
        "seated_at": 101.5,
        "left_at": 102.5,
        "cpu_at_first_line_s": 0.1,
        "cpu_at_end_s": 0.3,
    },
    "b": {
        "first_line_at": 103.0,
        "seated_at": 103.0,
        "left_at": 104.0,
        "cpu_at_first_line_s": 0.2,
        "cpu_at_end_s": 0.4,
    },
}
ENDED = [Ended("a", "Completed", 102.6), Ended("b", "Completed", 104.2)]


def test_times_are_counted_from_the_moment_at_which_all_were_due():
    found = times(ENDED, NOTES, 100.0)
    assert (found["completed"], found["crashed"], found["other_ends"]) == (2, 0, {})
    assert (found["first_line_p50_seconds"], found["first_line_p95_seconds"]) == (1.0, 3.0)
    assert (found["makespan_seconds"], found["last_stand_up_seconds"]) == (4.2, 4.0)
    assert found["desk_idle_seconds"] == 0.5


def test_a_run_that_has_not_ended_leaves_no_makespan_and_is_named():
    found = times([*ENDED, Ended("c", "Pending", None, "no place")], NOTES, 100.0)
    assert found["makespan_seconds"] is None
    assert (found["other_ends"], found["why_not_completed"]) == ({"Pending": 1}, {"no place": 1})


def test_a_line_that_is_half_written_is_not_read():
    lines = [json.dumps({"run": "a", "pid": 1, "first_line_at": 1.0}), json.dumps({"run": "a", "left_at": 2.0})]
    assert read_notes("\n".join(lines)) == {"a": {"pid": 1, "first_line_at": 1.0}}
    assert read_notes("\n".join(lines) + "\n") == {"a": {"pid": 1, "first_line_at": 1.0, "left_at": 2.0}}


@pytest.mark.parametrize(("reaped", "own"), [(1.0, 0.5), (0.0, 0.35)])
def test_cpu_of_a_run_is_what_was_reaped_and_never_less_than_what_it_noted(reaped, own):
    found = cpu({"run": reaped, "server": 0.4, "worker": 0.2}, NOTES, runs=2, calls=40)
    assert found["cpu_seconds_a_run"]["run"] == own
    assert found["cpu_seconds_a_run"]["run_to_first_line"] == 0.15
    assert found["cpu_seconds_a_run"]["run_in_flow"] == 0.2
    assert found["cpu_seconds_a_run"]["worker"] == 0.1
    assert (found["server_calls_a_run"], found["server_cpu_ms_a_call"]) == (20.0, 10.0)


def test_an_ad_hoc_run_that_never_began_is_counted_as_such():
    notes = {"a": {"first_line_at": 11.0, "since_start_s": 0.25}}
    found = ad_hoc({"a": 10.0, "b": 20.0}, notes)
    assert (found["runs"], found["began"], found["submit_to_first_line_p50_seconds"]) == (2, 1, 1.0)
    assert found["start_to_first_line_p50_seconds"] == 0.25


def test_calls_are_counted_by_path_without_identities_and_queries():
    log = [
        'INFO:     127.0.0.1:5 - "GET /api/flow_runs/0b3d2a52-95f0-4a49-a52c-3f0f4b2f0c11 HTTP/1.1" 200 OK',
        '12:00:00 | INFO | uvicorn.access - 127.0.0.1:6 - "GET /api/csrf-token?client=x HTTP/1.1" 200',
        '127.0.0.1:7 - "WebSocket /api/events/in" [accepted]',
        "a line of something else",
    ]
    calls = calls_by_path(log * 2)
    assert calls == {"GET /api/flow_runs/ID": 2, "GET /api/csrf-token": 2, "WS /api/events/in": 2}
    assert requests(calls) == 4
    assert refused(['"GET /api/x HTTP/1.1" 503', '"GET /api/x HTTP/1.1" 404', *log]) == 1
    assert most_called(calls, per=4, most=1) == {"GET /api/flow_runs/ID": 0.5}


def test_only_agents_that_would_be_due_are_held_back_and_the_house_never_is():
    now = datetime(2026, 3, 4, 6, 58, tzinfo=UTC)
    fleet = [
        entry("soon", cron="2 7 * * *"),
        entry("later", cron="2 8 * * *"),
        entry("in-another-zone", cron="2 8 * * *", timezone="Europe/Berlin"),
        entry("house", cron="*/3 * * * *", tags=("house",)),
        entry("no-cron", interval=3600.0),
    ]
    paused, held_back = quiet(fleet, now, seconds=600)
    assert held_back == ["digest/soon", "digest/in-another-zone", "digest/no-cron"]
    assert [one.name for one in paused if one.paused] == ["soon", "in-another-zone", "no-cron"]


def test_memory_of_a_role_is_that_of_the_samples_in_which_it_was_there():
    quiet_moment = Moment(0.0, pss_mib={"server": 200.0}, rss_mib={"server": 220.0})
    busy = Moment(1.0, pss_mib={"server": 202.0, "run": 50.0}, rss_mib={"server": 222.0, "run": 90.0}, runs=1)
    found = memory([quiet_moment, quiet_moment, busy])
    assert found["pss_mib"] == {"run": 50.0, "server": 200.0}
    assert (found["pss_mib_all_p50"], found["pss_mib_all_most"]) == (200.0, 252.0)
    assert found["share_of_samples_with_a_run"] == 0.33


def test_a_fork_and_an_orphan_belong_to_the_folder_they_were_started_in(tmp_path):
    program = (
        "import os, sys\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "print(child, flush=True)\n"
        "sum(range(10**6))\n"
        "sys.stdin.read()\n"
        "os.waitpid(child, 0)\n"
    )
    env = {**os.environ, "HOTDESK_HOME": str(tmp_path), "HOTDESK_SERVICE": f"{tmp_path}:worker"}
    argv = [sys.executable, "-S", "-c", program]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as top:
        assert top.stdin is not None and top.stdout is not None
        child = int(top.stdout.readline())
        family = Family(tmp_path)
        assert {(member.pid, member.role) for member in family.look()} == {(top.pid, "worker"), (child, "run")}
        assert family.moments[0].runs == 1
        assert family.moments[0].pss_mib["run"] > 0
        assert Family(tmp_path / "other").look() == []


@pytest.mark.parametrize(("makespan", "ok"), [(14.9, True), (15.1, False)])
def test_the_makespan_is_held_against_fifteen_seconds(makespan, ok):
    report = Report("burst", {}, ours={"short": {"completed": 50, "makespan_seconds": makespan}})
    report.ratio["process_over_ours_makespan_seconds"] = None
    judge(report, options())
    assert {target.name: target.ok for target in report.targets}["makespan"] is ok


def test_a_full_run_measures_three_bursts_of_ours_one_of_the_process_worker_and_both_ways_one_by_one():
    planned = [(side, name) for side, name, _ in plan(options())]
    ours, baseline = [("ours", name) for name in ("short", "many", "long")], [("baseline", "short")]
    assert planned == [*ours, *baseline, ("ours", "ad_hoc"), ("baseline", "ad_hoc")]


def options():
    return read_options([])


def entry(name, tags=(), **schedule) -> Entry:
    """An agent of the fleet under another name, with one schedule."""
    first = next(one for one in read_fleet() if one.flow_file == "flows/digest.py")
    changed = {**first.model_dump(), "name": name, "tags": tags, "schedules": [schedule]}
    return Entry.model_validate(changed)
