"""Who waits at the worker and who works: what the server said is kept, and a place is free as soon as a run is over."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from signal import Signals
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, State, StateType
from prefect.exceptions import ObjectNotFound

from deployments.bootstrap_names import BY_SCHEDULE_TAG, DEFAULT_QUEUE, GOVERNOR_QUEUE
from deployments.forking import suspending
from deployments.queue_of_runs import QueueOfRuns

NOW = datetime.now(UTC)
ALONE, CROWD = uuid4(), uuid4()
PLACES = 2


def entry(
    deployment: UUID | None = None,
    *,
    late: float = 60.0,
    by_schedule: bool = False,
    queue: str = DEFAULT_QUEUE,
    tags: tuple[str, ...] = (),
    begun: int = 0,
) -> Any:
    """A run as the server lists it, due that many seconds ago."""
    run = SimpleNamespace(
        id=uuid4(),
        deployment_id=deployment or uuid4(),
        work_queue_name=queue,
        next_scheduled_start_time=NOW - timedelta(seconds=late),
        auto_scheduled=by_schedule,
        tags=list(tags),
        run_count=begun,
    )
    return SimpleNamespace(flow_run=run)


class FakeWorker:
    """FAKE: a server with these runs; what was started and dropped."""

    def __init__(self, *entries: Any) -> None:
        self.entries = list(entries)
        self.client = self.waking = self
        self.started: list[UUID] = []
        self.dropped: dict[UUID, str] = {}
        self.suspended: list[UUID] = []
        self.freed_times = 0
        self.deployments_read: list[UUID] = []
        self.before_the_answer: Callable[[], object] = lambda: None
        self.while_read: Callable[[], Coroutine[Any, Any, None]] | None = None
        self.away: Exception | None = None

    def freed(self) -> None:
        self.freed_times += 1

    async def _get_scheduled_flow_runs(self) -> list[Any]:
        answer = list(self.entries)
        self.before_the_answer()
        return answer

    async def submit_now(self, entries: list[Any]) -> None:
        self.started += [one.flow_run.id for one in entries]

    async def set_flow_run_state(self, run: UUID, state: State[Any]) -> None:
        assert state.type == StateType.CANCELLED
        self.dropped[run] = state.message or ""

    async def read_deployment(self, which: UUID) -> Any:
        self.deployments_read.append(which)
        if self.while_read is not None:
            await self.while_read()
        if self.away is not None:
            raise self.away
        if which not in (ALONE, CROWD):
            raise ObjectNotFound(Exception("gone"))
        limit = SimpleNamespace(active=True, limit=1 if which == ALONE else 3)
        options = SimpleNamespace(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
        return SimpleNamespace(global_concurrency_limit=limit, concurrency_options=options)

    async def read_flow_runs(self, **_filters: Any) -> list[Any]:
        return [SimpleNamespace(id=run) for run in self.suspended]


class FakeAdmissions:
    """FAKE: memory for everybody."""

    def room(self, *, now: datetime, working: int = 0) -> Any:
        from governor.policy.admitting import Room

        return Room(places={"agents": PLACES, "house": 1}, free_mib=None, run_mib=60, spare_mib=0)


Act = Callable[[QueueOfRuns], Coroutine[Any, Any, None]]


def play(worker: FakeWorker, act: Act) -> QueueOfRuns:
    """A queue on its own event loop."""

    async def main() -> QueueOfRuns:
        queue = QueueOfRuns(worker, {})  # type: ignore[arg-type]  # a fake
        queue._admissions = FakeAdmissions()  # type: ignore[assignment]
        await act(queue)
        return queue

    return asyncio.run(main())


def handle(pid: int, said: list[Signals] | None = None) -> Any:
    raw = SimpleNamespace(signal=said.append) if said is not None else SimpleNamespace()
    return SimpleNamespace(pid=pid, raw_process=raw)


pytestmark = pytest.mark.usefixtures("hotdesk_home")


def test_the_longest_due_start_and_the_rest_waits_until_one_is_over():
    first, second, third = entry(late=90), entry(late=80), entry(late=70)
    worker = FakeWorker(third, first, second)

    async def act(queue: QueueOfRuns) -> None:
        await queue.fill()
        assert worker.started == [first.flow_run.id, second.flow_run.id]
        assert queue.held
        freed_before = worker.freed_times
        queue.has_process(first.flow_run.id, handle(11))
        queue.submitted(first.flow_run.id)
        assert worker.freed_times == freed_before, "it works"
        queue.ended(first.flow_run.id)
        queue.ended(first.flow_run.id)
        assert worker.freed_times == freed_before + 1
        await queue.admit()  # without asking the server again
        assert worker.started[2:] == [third.flow_run.id]

    play(worker, act)


def test_a_run_that_the_server_refused_gives_its_place_back():
    refused = entry()
    worker = FakeWorker(refused)

    async def act(queue: QueueOfRuns) -> None:
        await queue.fill()
        queue.submitted(refused.flow_run.id)
        assert not queue.at_work

    play(worker, act)


def test_a_run_that_works_is_not_started_again_although_the_server_still_lists_it():
    listed = entry()
    worker = FakeWorker(listed)

    async def act(queue: QueueOfRuns) -> None:
        await queue.fill()
        await queue.fill()
        assert worker.started == [listed.flow_run.id]

    play(worker, act)


def test_a_run_that_is_over_before_an_older_answer_comes_is_not_begun_again():
    short = entry()
    worker = FakeWorker(short)

    async def act(queue: QueueOfRuns) -> None:
        await queue.fill()
        worker.before_the_answer = lambda: queue.ended(short.flow_run.id)
        await queue.fill()
        assert worker.started == [short.flow_run.id]
        worker.before_the_answer = lambda: None
        await queue.fill()  # it was scheduled again, as for a retry
        assert worker.started == [short.flow_run.id] * 2

    play(worker, act)


def test_agents_never_keep_the_house_out():
    worker = FakeWorker(*(entry(late=90) for _ in range(3)), house := entry(queue=GOVERNOR_QUEUE))
    play(worker, QueueOfRuns.fill)
    assert house.flow_run.id in worker.started
    assert len(worker.started) == PLACES + 1


@pytest.mark.parametrize("how", [{"by_schedule": True}, {"tags": (BY_SCHEDULE_TAG,)}])
def test_of_late_twins_the_latest_starts_and_the_older_are_cancelled_in_our_words(how: dict[str, Any]):
    older, latest = entry(ALONE, late=90, **how), entry(ALONE, late=30, **how)
    worker = FakeWorker(older, latest)
    play(worker, QueueOfRuns.fill)
    assert worker.started == [latest.flow_run.id]
    assert worker.dropped.keys() == {older.flow_run.id}
    assert worker.dropped[older.flow_run.id].startswith("hotdesk: a later run of this agent")


@pytest.mark.parametrize(("deployment", "at_once"), [(ALONE, 1), (CROWD, 2)])
def test_a_second_run_waits_only_where_the_server_would_cancel_it(deployment: UUID, at_once: int):
    worker = FakeWorker(entry(deployment, late=90), entry(deployment, late=30))
    play(worker, QueueOfRuns.fill)
    assert len(worker.started) == at_once
    assert worker.deployments_read == [deployment]


@pytest.mark.parametrize(("deployment", "away"), [(CROWD, None), (ALONE, ConnectionError("the server is away"))])
def test_no_twin_is_dropped_before_or_unless_the_server_says_that_it_lets_one_through(
    deployment: UUID, away: Exception | None
):
    twins = [entry(deployment, late=late, by_schedule=True) for late in (90, 30)]
    worker = FakeWorker(*twins)
    worker.away = away

    async def act(queue: QueueOfRuns) -> None:
        worker.while_read = queue.admit
        await queue.fill()

    play(worker, act)
    assert (worker.started, worker.dropped) == ([one.flow_run.id for one in twins], {})


def test_a_run_that_starts_and_ends_while_deployments_are_read_is_not_begun_again():
    first, second = entry(CROWD, late=90), entry(CROWD, late=30)
    worker = FakeWorker(first)

    async def act(queue: QueueOfRuns) -> None:
        async def over() -> None:
            queue.ended(first.flow_run.id)

        await queue.fill()
        worker.entries, worker.while_read = [first, second], over
        await queue.fill()

    play(worker, act)
    assert worker.started == [first.flow_run.id, second.flow_run.id]


@pytest.mark.parametrize("how", [{"by_schedule": True}, {"tags": (BY_SCHEDULE_TAG,)}])
def test_a_run_that_was_begun_is_no_twin_and_goes_on(how: dict[str, Any]):
    begun, later = entry(ALONE, late=90, begun=1, **how), entry(ALONE, late=30, **how)
    worker = FakeWorker(begun, later)

    async def act(queue: QueueOfRuns) -> None:
        await queue.fill()
        queue.ended(begun.flow_run.id)
        await queue.admit()

    play(worker, act)
    assert (worker.started, worker.dropped) == ([begun.flow_run.id, later.flow_run.id], {})


def test_deployments_with_one_run_are_not_looked_up_and_a_deleted_one_stops_nobody():
    gone = uuid4()
    worker = FakeWorker(entry(), entry(gone, late=90), entry(gone, late=30))
    play(worker, QueueOfRuns.fill)
    assert worker.deployments_read == [gone]
    assert len(worker.started) == PLACES


def test_a_run_due_later_waits_for_its_time():
    later = entry(late=-86400)  # however long the tests before this one take
    worker = FakeWorker(later)

    async def act(queue: QueueOfRuns) -> None:
        await queue.fill()
        assert queue.next_due_at == later.flow_run.next_scheduled_start_time

    play(worker, act)
    assert not worker.started


def test_a_suspended_run_is_told_by_a_signal_where_it_listens():
    forked, other = entry(), entry()
    worker = FakeWorker(forked, other)
    said: list[Signals] = []

    async def act(queue: QueueOfRuns) -> None:
        await queue.tell_suspended()
        await queue.fill()
        queue.has_process(forked.flow_run.id, handle(11, said))
        queue.has_process(other.flow_run.id, handle(12))
        worker.suspended = [forked.flow_run.id, other.flow_run.id]
        await queue.tell_suspended()
        queue.tell(uuid4())

    play(worker, act)
    assert said == [suspending.TOLD_BY]
