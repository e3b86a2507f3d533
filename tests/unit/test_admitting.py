"""Which waiting runs start, which are dropped, and what is said of those that wait."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from governor.policy.admitting import AGENTS, HOUSE, Admission, Learned, Room, Waiting, Working, admit, learned

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)


def waits(run: int, agent: int | None, late_min: float = 0, *, lane: str = AGENTS, by_hand: bool = False) -> Waiting:
    return Waiting(
        run_id=UUID(int=run),
        deployment_id=None if agent is None else UUID(int=agent),
        lane=lane,
        due_at=NOW - timedelta(minutes=late_min),
        by_schedule=not by_hand,
    )


def works(run: int, agent: int | None, lane: str = AGENTS) -> Working:
    return Working(run_id=UUID(int=run), deployment_id=None if agent is None else UUID(int=agent), lane=lane)


def room(places: int = 14, free_mib: float | None = None, house: int = 2) -> Room:
    return Room(places={AGENTS: places, HOUSE: house}, free_mib=free_mib, run_mib=60, spare_mib=300)


def admitted(waiting: Sequence[Waiting], working: Sequence[Working] = (), there: Room | None = None) -> Admission:
    return admit(waiting, working, there or room(), now=NOW)


def started(admission: Admission) -> list[int]:
    return [run.int for run in admission.start]


def dropped(admission: Admission) -> list[int]:
    return [run.int for run, _ in admission.drop]


def test_runs_start_in_due_order_and_equal_times_by_run_id():
    assert started(admitted([waits(3, 13), waits(1, 11), waits(2, 12, 5)])) == [2, 1, 3]


def test_who_is_due_later_is_left_alone():
    assert admitted([waits(1, 11, -1)]) == Admission()


def test_no_more_start_than_there_are_places():
    admission = admitted([waits(n, 10 + n) for n in range(1, 12)], [works(30 + n, 40 + n) for n in range(12)])
    assert started(admission) == [1, 2]
    assert admission.held == "9 wait: 14 of 14 run"


@pytest.mark.parametrize(("free_mib", "starts"), [(None, 4), (540, 4), (539, 3), (360, 1), (359, 0), (0, 0), (-50, 0)])
def test_no_more_start_than_memory_holds(free_mib: float | None, starts: int):
    admission = admitted([waits(n, 10 + n) for n in range(1, 5)], [works(30, 40)], room(free_mib=free_mib))
    assert len(admission.start) == starts


def test_who_waits_for_memory_is_told_so_with_figures():
    admission = admitted([waits(n, 10 + n) for n in (1, 2, 3)], [works(30, 40)], room(free_mib=210))
    assert admission.held == "3 wait: 210 MiB free, a run takes 60 and 300 stay free"


def test_one_agent_runs_whatever_memory_says():
    admission = admitted([waits(1, 11), waits(2, 12)], there=room(free_mib=10))
    assert started(admission) == [1]
    assert admission.held.startswith("1 waits: 10 MiB free")


def test_one_agent_runs_also_while_the_house_works():
    assert started(admitted([waits(1, 11)], [works(9, 19, HOUSE)], room(free_mib=10))) == [1]


def test_agents_never_keep_the_house_out():
    full = [works(30 + n, 40 + n) for n in range(14)]
    admission = admitted([waits(1, 11, 60), waits(2, 12, lane=HOUSE)], full, room(free_mib=0))
    assert started(admission) == [2]
    assert admission.held == "1 waits: 14 of 14 run"


def test_the_house_has_no_more_than_its_places():
    admission = admitted([waits(n, 10 + n, lane=HOUSE) for n in (1, 2, 3)])
    assert started(admission) == [1, 2]
    assert admission.held == "house: 1 waits: 2 of 2 run"


def test_of_late_twins_the_latest_starts_and_the_others_are_dropped_with_the_reason():
    admission = admitted([waits(1, 11, 60), waits(2, 11), waits(3, 11, 30)])
    assert started(admission) == [2]
    assert dropped(admission) == [1, 3]
    assert {why for _, why in admission.drop} == {
        "a later run of this agent, due at 2026-11-25 07:00 UTC, does it once"
    }


def test_while_the_latest_waits_the_oldest_keeps_the_agents_place_and_those_between_are_dropped():
    waiting = [waits(1, 11, 60), waits(2, 11, 30), waits(3, 11), waits(4, 14, 45)]
    full = admitted(waiting, [works(9, 19)], room(places=1))
    assert (started(full), dropped(full), full.held) == ([], [2], "2 wait: 1 of 1 run")
    then = admitted(waiting, there=room(places=1))
    assert (started(then), dropped(then)) == ([3], [1, 2])


def test_a_frequent_agent_gets_its_turn_on_a_machine_that_is_always_behind():
    line = [waits(n, 10 + n, 100 - n) for n in range(1, 21)]
    frequent = [waits(50 + n, 99, 80 - 10 * n) for n in range(9)]
    served: list[int] = []
    for _ in range(21):
        admission = admitted([*line, *frequent], there=room(places=1))
        served += started(admission)
        gone = {*started(admission), *dropped(admission)}
        line = [run for run in line if run.run_id.int not in gone]
        frequent = [run for run in frequent if run.run_id.int not in gone]
    # Its oldest time is that of number 20: it comes next to it, with the work of its latest time.
    assert served[19:] == [20, 58]


def test_runs_asked_for_by_hand_are_no_twins_and_follow_each_other():
    waiting = [waits(1, 11, 5, by_hand=True), waits(2, 11, by_hand=True), waits(3, 11, 2)]
    served: list[int] = []
    for _ in waiting:
        admission = admitted(waiting)
        assert admission.drop == ()
        served += started(admission)
        waiting = [run for run in waiting if run.run_id not in admission.start]
    assert served == [1, 3, 2]


def test_who_waits_for_an_earlier_run_of_its_agent_keeps_nobody_else_out():
    admission = admitted([waits(1, 11, 9), waits(2, 12)], [works(9, 11)], room(places=2))
    assert started(admission) == [2]
    assert admission.held == "1 waits for an earlier run of the same agent"


def test_runs_without_a_deployment_are_nobodys_twins():
    assert started(admitted([waits(1, None, 5), waits(2, None)], [works(9, None)])) == [1, 2]


def test_a_run_that_the_server_does_not_know_to_have_started_is_not_started_again():
    assert admitted([waits(1, 11)], [works(1, 11)]) == Admission()


def test_fewer_places_than_before_start_nothing_and_end_nothing():
    admission = admitted([waits(1, 11)], [works(30 + n, 40 + n) for n in range(9)], room(places=7))
    assert (admission.start, admission.held) == ((), "1 waits: 9 of 7 run")


def test_a_lane_without_places_is_closed():
    admission = admitted([waits(1, 11, lane="another")])
    assert (admission.start, admission.held) == ((), "another: 1 waits: 0 of 0 run")


@pytest.mark.parametrize(
    ("peaks", "before", "mib", "runs"),
    [
        ([], Learned(), 60, 0),
        ([120], Learned(), 70, 1),  # one run counts a sixth
        ([100] * 50, Learned(), 5300 / 55, 50),
        ([40] * 9 + [90], Learned(), (300 + 400) / 15, 10),  # one in ten may take more
        ([40] * 8 + [90] * 2, Learned(), (300 + 900) / 15, 10),  # two in ten may not
        ([40] * 13 + [90] * 2, Learned(), (300 + 1350) / 20, 15),
        ([50] * 20, Learned(mib=100, runs=5000), 75, 5020),  # a new version is followed
    ],
)
def test_what_a_run_takes_is_learned_from_the_high_side(peaks: list[float], before: Learned, mib: float, runs: int):
    found = learned(peaks, before)
    assert (found.mib, found.runs) == (pytest.approx(mib), runs)
