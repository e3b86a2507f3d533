"""The facts of admission: free memory less what runs still grow, and what a run takes, measured and remembered."""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deployments.admission import LOOK_AGAIN_SECONDS, LOOKS, RUN_KEY, Admissions, own_mib
from governor.policy.admitting import AGENTS, HOUSE, RUN_MIB, Learned
from governor.policy.residency import FLOOR_MIB
from governor.settings import Home
from governor.state.sessions import recall, remember

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
PLACES = {AGENTS: 14, HOUSE: 2}


class FakeMachine:
    """A FAKE machine: memory that tests set, a clock that they move, and a list of the looks that were taken."""

    def __init__(self, free_mib: float | None = 2000.0) -> None:
        self.free_mib, self.seconds = free_mib, 0.0
        self.own: dict[int, float | None] = {}
        self.looked: list[int] = []

    def look(self, pid: int) -> float | None:
        self.looked.append(pid)
        return self.own.get(pid)

    def admissions(self) -> Admissions:
        return Admissions(PLACES, free_mib=lambda: self.free_mib, own_mib=self.look, clock_s=lambda: self.seconds)

    def ran(self, admissions: Admissions, mib: float, runs: int = 1) -> None:
        """So many runs came, took this much and ended."""
        for pid in range(1000, 1000 + runs):
            self.own[pid] = mib
            admissions.measure([pid])
        admissions.measure([])


def test_at_first_a_run_takes_the_constant_and_the_floor_stays_free(hotdesk_home: Home):
    room = FakeMachine().admissions().room(now=NOW)
    assert (room.places, room.free_mib, room.run_mib, room.spare_mib) == (PLACES, 2000, RUN_MIB, FLOOR_MIB)


def test_memory_that_cannot_be_read_is_unknown(hotdesk_home: Home):
    assert FakeMachine(None).admissions().room(now=NOW, working=3).free_mib is None


def test_runs_just_started_have_all_to_take_that_a_run_takes(hotdesk_home: Home):
    admissions = FakeMachine().admissions()
    assert admissions.room(now=NOW, working=3).free_mib == 2000 - 3 * RUN_MIB
    admissions.measure([1])  # its memory cannot be read: what it takes is taken as taken
    assert admissions.room(now=NOW, working=3).free_mib == 2000 - 2 * RUN_MIB


@pytest.mark.parametrize(("own_mib", "left"), [(20.0, RUN_MIB - 20), (RUN_MIB, 0), (300.0, 0)])
def test_what_a_run_has_taken_is_not_counted_twice(own_mib: float, left: float, hotdesk_home: Home):
    machine = FakeMachine()
    machine.own[1] = own_mib
    admissions = machine.admissions()
    admissions.measure([1])
    assert admissions.room(now=NOW, working=1).free_mib == 2000 - left


def test_free_memory_is_read_again_when_it_is_old(hotdesk_home: Home):
    machine = FakeMachine()
    admissions = machine.admissions()
    admissions.room(now=NOW)
    machine.free_mib = 900
    assert admissions.room(now=NOW + timedelta(seconds=0.1)).free_mib == 2000
    assert admissions.room(now=LATER).free_mib == 900
    machine.free_mib = 800
    assert admissions.room(now=NOW).free_mib == 800  # the clock was set back


def test_few_processes_are_looked_at_in_one_call_and_each_now_and_then(hotdesk_home: Home):
    machine, pids = FakeMachine(), range(1, 11)
    admissions = machine.admissions()
    for calls in (1, 2, 3, 4):
        admissions.measure(pids)
        assert len(machine.looked) == min(10, LOOKS * calls)
    assert sorted(machine.looked) == list(pids)
    machine.seconds += LOOK_AGAIN_SECONDS
    admissions.measure(pids)
    assert len(machine.looked) == 10 + LOOKS


def test_a_newcomer_is_looked_at_before_those_that_were_seen(hotdesk_home: Home):
    machine = FakeMachine()
    admissions = machine.admissions()
    admissions.measure(range(1, 5))
    machine.seconds += LOOK_AGAIN_SECONDS
    admissions.measure(range(1, 6))
    assert machine.looked[LOOKS] == 5


def test_the_most_that_a_run_had_counts_when_it_has_ended(hotdesk_home: Home):
    machine = FakeMachine()
    admissions = machine.admissions()
    for mib in (50.0, 120.0, 80.0):
        machine.own[1] = mib
        admissions.measure([1])
        machine.seconds += LOOK_AGAIN_SECONDS
    assert admissions.room(now=NOW).run_mib == RUN_MIB
    admissions.measure([])
    assert admissions.room(now=NOW).run_mib == 70  # one run of 120 beside five of 60


def test_a_run_that_was_never_seen_says_nothing(hotdesk_home: Home):
    machine = FakeMachine()
    admissions = machine.admissions()
    machine.own[1] = None
    admissions.measure([1])
    admissions.measure([])
    assert admissions.room(now=NOW).run_mib == RUN_MIB


def test_what_runs_take_is_remembered_by_the_next_worker(hotdesk_home: Home):
    machine = FakeMachine()
    admissions = machine.admissions()
    machine.ran(admissions, 100, runs=10)
    learned = Learned.model_validate_json(recall(RUN_KEY))
    assert learned.mib == pytest.approx(admissions.room(now=NOW).run_mib, rel=0.1)
    assert machine.admissions().room(now=NOW).run_mib == learned.mib


def test_a_small_change_is_not_written_down(hotdesk_home: Home):
    machine = FakeMachine()
    machine.ran(machine.admissions(), RUN_MIB * 1.09, runs=50)
    assert recall(RUN_KEY) == ""


@pytest.mark.parametrize("text", ["", "sixty", "{}", '{"mib": -1}', '{"mib": 1e999}', '{"other": 1}'])
def test_what_cannot_be_read_back_is_the_constant(text: str, hotdesk_home: Home):
    remember(RUN_KEY, text)
    assert FakeMachine().admissions().room(now=NOW).run_mib == RUN_MIB


def test_a_database_that_cannot_be_used_keeps_no_run_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hotdesk.db").write_text("no database" * 100)
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path))
    machine = FakeMachine()
    admissions = machine.admissions()
    machine.ran(admissions, 200, runs=10)
    assert admissions.room(now=NOW).run_mib > 100


@pytest.mark.skipif(sys.platform != "linux", reason="private pages are read from /proc")
def test_private_pages_are_read_of_a_process_that_is_there_and_unknown_of_one_that_is_not():
    found = own_mib(os.getpid())
    assert found is not None
    assert found > 1
    assert own_mib(2**22 + 1) is None  # above the highest number that the kernel gives
