"""Laws of admission, for any runs that wait and work: room is kept, nobody is lost, the order is that of due times."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from governor.policy.admitting import AGENTS, HOUSE, Admission, Room, Waiting, Working, admit

NOW = datetime(2026, 11, 25, 7, 0, tzinfo=UTC)
RUN_MIB, SPARE_MIB = 60.0, 300.0


def lane(deployment: int) -> str:
    return HOUSE if deployment >= 90 else AGENTS


def whose(deployment: int) -> UUID | None:
    return UUID(int=deployment) if deployment else None


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Waiting], list[Working]]:
    """Up to 14 runs of a few deployments, 0 being none, at a few times, so that much of it coincides."""
    deployments = st.sampled_from([0, 1, 2, 3, 4, 90, 91])
    waiting = [
        Waiting(
            run_id=UUID(int=100 + n),
            deployment_id=whose(deployment),
            lane=lane(deployment),
            due_at=NOW + timedelta(minutes=minutes),
            by_schedule=by_schedule,
        )
        for n, (deployment, minutes, by_schedule) in enumerate(
            draw(st.lists(st.tuples(deployments, st.integers(-4, 1), st.booleans()), max_size=10))
        )
    ]
    at_work = draw(st.lists(deployments, max_size=4))
    working = [
        Working(run_id=UUID(int=900 + n), deployment_id=whose(deployment), lane=lane(deployment))
        for n, deployment in enumerate(at_work)
    ]
    return draw(st.permutations(waiting)), working


free = st.one_of(st.none(), st.floats(-100, 1000))
places = st.integers(0, 6)


def room(agents: int, house: int, free_mib: float | None) -> Room:
    return Room(places={AGENTS: agents, HOUSE: house}, free_mib=free_mib, run_mib=RUN_MIB, spare_mib=SPARE_MIB)


def twins(waiting: Sequence[Waiting]) -> dict[UUID, list[Waiting]]:
    """The late runs of each deployment that came by schedule, the latest last."""
    found: dict[UUID, list[Waiting]] = {}
    for run in sorted(waiting, key=lambda run: (run.due_at, run.run_id)):
        if run.by_schedule and run.deployment_id and run.due_at <= NOW:
            found.setdefault(run.deployment_id, []).append(run)
    return found


def as_working(waiting: Sequence[Waiting], admission: Admission) -> list[Working]:
    by_id = {run.run_id: run for run in waiting}
    return [
        Working(run_id=run_id, deployment_id=by_id[run_id].deployment_id, lane=by_id[run_id].lane)
        for run_id in admission.start
    ]


@given(scenes(), places, places, free)
def test_room_is_kept(scene: tuple[list[Waiting], list[Working]], agents: int, house: int, free_mib: float | None):
    waiting, working = scene
    starts = as_working(waiting, admit(waiting, working, room(agents, house, free_mib), now=NOW))
    before, new = Counter(run.lane for run in working), Counter(run.lane for run in starts)
    for name, most in ((AGENTS, agents), (HOUSE, house)):
        assert new[name] == 0 or before[name] + new[name] <= most
    if free_mib is not None and new[AGENTS] > (0 if before[AGENTS] else 1):
        assert new[AGENTS] * RUN_MIB <= free_mib - SPARE_MIB


@given(scenes(), places, places, free)
def test_nobody_is_lost(scene: tuple[list[Waiting], list[Working]], agents: int, house: int, free_mib: float | None):
    waiting, working = scene
    admission = admit(waiting, working, room(agents, house, free_mib), now=NOW)
    dropped, by_id = {run_id for run_id, _ in admission.drop}, {run.run_id: run for run in waiting}
    assert len(set(admission.start)) == len(admission.start)
    assert len(dropped) == len(admission.drop)
    assert not dropped.intersection(admission.start)
    older = {run.run_id for several in twins(waiting).values() for run in several[:-1]}
    assert dropped <= older  # so neither the latest, nor one by hand, nor one that is due later
    assert not older.intersection(admission.start)
    for run_id in admission.start:
        if by_id[run_id] in (several := twins(waiting).get(by_id[run_id].deployment_id or UUID(int=0), [])):
            assert {run.run_id for run in several[:-1]} <= dropped
    left = {run.run_id for run in waiting if run.due_at <= NOW} - dropped - older - {*admission.start}
    assert bool(admission.held) == bool(left)


@given(scenes(), places, places, free)
def test_no_two_runs_of_a_deployment_work_at_a_time(
    scene: tuple[list[Waiting], list[Working]], agents: int, house: int, free_mib: float | None
):
    waiting, working = scene
    starts = as_working(waiting, admit(waiting, working, room(agents, house, free_mib), now=NOW))
    deployments = [run.deployment_id for run in starts if run.deployment_id]
    assert len(set(deployments)) == len(deployments)
    assert not set(deployments) & {run.deployment_id for run in working}


@given(scenes(), places, places, free)
def test_who_starts_was_due_before_who_waits_for_room_in_the_same_lane(
    scene: tuple[list[Waiting], list[Working]], agents: int, house: int, free_mib: float | None
):
    waiting, working = scene
    admission = admit(waiting, working, room(agents, house, free_mib), now=NOW)
    since = {several[-1].run_id: several[0].due_at for several in twins(waiting).values()}
    by_id = {run.run_id: run for run in waiting}
    order = [(since.get(run_id, by_id[run_id].due_at), run_id) for run_id in admission.start]
    assert order == sorted(order)
    busy = {run.deployment_id for run in [*working, *as_working(waiting, admission)]} - {None}
    older = {run.run_id for several in twins(waiting).values() for run in several[:-1]}
    for run in waiting:
        if run.due_at <= NOW and run.run_id not in {*admission.start, *older} and run.deployment_id not in busy:
            place = (since.get(run.run_id, run.due_at), run.run_id)
            assert all(place > there for there in order if by_id[there[1]].lane == run.lane)


@given(scenes(), places, places, free, st.integers(0, 3), st.integers(0, 3), st.floats(0, 500))
def test_more_room_never_starts_fewer(
    scene: tuple[list[Waiting], list[Working]],
    agents: int,
    house: int,
    free_mib: float | None,
    more_agents: int,
    more_house: int,
    more_mib: float,
):
    waiting, working = scene
    less = admit(waiting, working, room(agents, house, free_mib), now=NOW)
    wider = room(agents + more_agents, house + more_house, None if free_mib is None else free_mib + more_mib)
    assert set(less.start) <= set(admit(waiting, working, wider, now=NOW).start)


@given(scenes(), places, places, free)
def test_what_agents_do_never_keeps_the_house_out(
    scene: tuple[list[Waiting], list[Working]], agents: int, house: int, free_mib: float | None
):
    waiting, working = scene
    everybody = admit(waiting, working, room(agents, house, free_mib), now=NOW)
    house_alone = admit(
        [run for run in waiting if run.lane == HOUSE],
        [run for run in working if run.lane == HOUSE],
        room(0, house, 0),
        now=NOW,
    )
    of_house = {run.run_id for run in waiting if run.lane == HOUSE}
    assert [run_id for run_id in everybody.start if run_id in of_house] == list(house_alone.start)


@given(scenes(), places, places, free)
def test_asked_again_at_once_it_starts_nothing_more(
    scene: tuple[list[Waiting], list[Working]], agents: int, house: int, free_mib: float | None
):
    """The server still says that those wait which were started; free memory is what they will leave."""
    waiting, working = scene
    first = admit(waiting, working, room(agents, house, free_mib), now=NOW)
    starts = as_working(waiting, first)
    taken = RUN_MIB * sum(run.lane == AGENTS for run in starts)
    left = None if free_mib is None else free_mib - taken
    gone = {run_id for run_id, _ in first.drop}
    still = [run for run in waiting if run.run_id not in gone]
    second = admit(still, [*working, *starts], room(agents, house, left), now=NOW)
    assert (second.start, second.drop) == ((), ())


@given(scenes(), places, places, free)
def test_the_order_in_which_the_server_tells_them_does_not_matter(
    scene: tuple[list[Waiting], list[Working]], agents: int, house: int, free_mib: float | None
):
    waiting, working = scene
    there = room(agents, house, free_mib)
    again = sorted(waiting, key=lambda run: run.run_id)
    first, second = admit(waiting, working, there, now=NOW), admit(again, working, there, now=NOW)
    assert (first.start, set(first.drop), first.held) == (second.start, set(second.drop), second.held)


@given(scenes(), places, st.integers(1, 3))
def test_all_that_wait_are_done_in_the_end(scene: tuple[list[Waiting], list[Working]], agents: int, house: int):
    """One after the other, with one place a lane and no memory: each late run is started or has a later twin."""
    waiting, _ = scene
    waiting = [run for run in waiting if run.due_at <= NOW]
    wanted = {run.run_id for run in waiting} - {
        run.run_id for several in twins(waiting).values() for run in several[:-1]
    }
    done: set[UUID] = set()
    for _ in range(len(waiting)):
        admission = admit(waiting, [], room(agents + 1, house, 0), now=NOW)
        done |= {*admission.start}
        gone = {*admission.start, *(run_id for run_id, _ in admission.drop)}
        waiting = [run for run in waiting if run.run_id not in gone]
    assert (done, waiting) == (wanted, [])
