"""A pool of an earlier version on a real server: its type changes, and what waited in it waits once, come what may."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkPool, WorkPoolStorageConfiguration
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import AwaitingRetry, Running, Scheduled
from prefect.workers.process import ProcessWorker

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, POOL_TYPE, PROCESS_TYPE
from deployments.pool import right_pool
from deployments.replacing import unfinished
from governor.settings import Home

NOW = datetime.now(UTC)
# The server's own bound.
MOST_IN_AN_ANSWER = 200
LATE, SOON = NOW - timedelta(minutes=10), NOW + timedelta(hours=1)


class Killed(BaseException):
    """As kill -9 would end it: nothing of ours catches this."""


class DyingClient:
    """A FAKE only in that its call number `dies_at` is the last.

    Args:
        before: that call is not carried out; else it is, and its answer never comes.
        reads: calls that only read count too.
    """

    def __init__(self, client: SyncPrefectClient, dies_at: int, *, before: bool = False, reads: bool = False) -> None:
        self._client, self.left, self._before, self._reads = client, dies_at, before, reads

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        counts = callable(call) and (self._reads or not name.startswith("read_"))
        return partial(self._counted, call) if counts else call

    def _counted(self, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left == 0 and self._before:
            raise Killed
        answer = call(*args, **named)
        if self.left == 0:
            raise Killed
        return answer


@pytest.fixture
def client(fleet_server: Home) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


class OldPool:
    """A process pool as an operator left it, with one deployment.

    Runs by hand: one late, one in an hour, one that waits to be tried again, one in progress.
    """

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client, self.name = client, f"pool-{uuid4().hex[:8]}"
        template = ProcessWorker.get_default_base_job_template()
        template["variables"]["properties"]["town"] = {"type": "string", "default": "Ulm"}
        template["job_configuration"]["env"] = {"TOWN": "{{ town }}"}
        pool = WorkPoolCreate(
            name=self.name,
            type=PROCESS_TYPE,
            base_job_template=template,
            description="mine",
            concurrency_limit=70,
            storage_configuration=WorkPoolStorageConfiguration(bundle_upload_step={"step": {"bucket": "mine"}}),
        )
        client.create_work_pool(pool)
        client.create_work_queue(GOVERNOR_QUEUE, work_pool_name=self.name, concurrency_limit=30, priority=1)
        client.create_work_queue("mine", work_pool_name=self.name, is_paused=True)
        flow = client.create_flow_from_name(f"flow-{self.name}")
        self.deployment = client.create_deployment(
            flow,
            "one",
            work_pool_name=self.name,
            work_queue_name=GOVERNOR_QUEUE,
            schedules=[schedule()],
            parameters={"n": 1},
        )
        client.request("POST", "/deployments/{id}/schedule", path_params={"id": self.deployment}, json={})
        self.of_schedule = {run.expected_start_time for run in self.waiting()}
        for name, due in (("late", LATE), ("soon", SOON)):
            client.create_flow_run_from_deployment(
                self.deployment, name=name, parameters={"n": 2}, tags=["by-hand"], state=Scheduled(scheduled_time=due)
            )
        self.again = client.create_flow_run_from_deployment(self.deployment, name="again", tags=["by-hand"]).id
        client.set_flow_run_state(self.again, Running(), force=True)
        client.set_flow_run_state(self.again, AwaitingRetry(scheduled_time=LATE), force=True)
        self.running = client.create_flow_run_from_deployment(self.deployment, name="running").id
        client.set_flow_run_state(self.running, Running(), force=True)

    def waiting(self) -> list[FlowRun]:
        """What a worker of the pool is told to run, now and later."""
        return [found.flow_run for found in self.client.get_scheduled_flow_runs_for_work_pool(self.name)]

    def replaced(self, client: Any = None) -> WorkPool:
        right_pool(client or self.client, now=datetime.now(UTC), name=self.name)
        return self.client.read_work_pool(self.name)

    def priorities(self) -> dict[str, int | None]:
        return {queue.name: queue.priority for queue in self.client.read_work_queues(work_pool_name=self.name)}

    def runs_by_hand(self) -> list[tuple[str, datetime | None, dict[str, Any], set[str]]]:
        by_hand = [run for run in self.waiting() if run.name in BY_HAND]
        return sorted((run.name, run.expected_start_time, run.parameters, set(run.tags)) for run in by_hand)

    def in_all(self) -> int:
        """Runs of the deployment that wait anywhere on the server."""
        wanted = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[self.deployment]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        )
        return len(self.client.read_flow_runs(flow_run_filter=wanted, limit=200))

    def drop(self) -> None:
        self.client.delete_deployment(self.deployment)
        self.client.delete_work_pool(self.name)


@pytest.fixture
def pool(client: SyncPrefectClient) -> Iterator[OldPool]:
    pool = OldPool(client)
    yield pool
    pool.drop()


def schedule() -> DeploymentScheduleCreate:
    every = IntervalSchedule(interval=timedelta(minutes=30), anchor_date=NOW + timedelta(minutes=20))
    return DeploymentScheduleCreate(schedule=every, active=True)


BY_HAND = ("again", "late", "soon")
AS_ASKED = [
    ("again", LATE, {"n": 1}, {"by-hand"}),
    ("late", LATE, {"n": 2}, {"by-hand"}),
    ("soon", SOON, {"n": 2}, {"by-hand"}),
]


def all_is_there(pool: OldPool) -> None:
    """Every run once, in the new pool, and nothing left to do."""
    assert pool.runs_by_hand() == AS_ASKED
    waiting = pool.waiting()
    times = [run.expected_start_time for run in waiting if run.name not in BY_HAND]
    assert len(times) == len(set(times)) and set(times) >= pool.of_schedule
    assert pool.in_all() == len(waiting)
    assert pool.client.read_flow_run(pool.running).state_type == StateType.RUNNING
    assert pool.client.read_flow_run(pool.again).state_type == StateType.CANCELLED
    assert unfinished(pool.client, pool.name) is None


def test_runs_by_hand_and_by_schedule_and_what_an_operator_set_are_in_the_new_pool(pool: OldPool) -> None:
    old = pool.client.read_work_pool(pool.name)
    new = pool.replaced()
    assert (new.type, new.description, new.concurrency_limit) == (POOL_TYPE, "mine", 70)
    assert new.id != old.id
    assert new.base_job_template["variables"]["properties"]["town"] == {"type": "string", "default": "Ulm"}
    assert new.base_job_template["job_configuration"]["env"] == {"TOWN": "{{ town }}"}
    assert new.storage_configuration.bundle_upload_step == {"step": {"bucket": "mine"}}
    assert pool.priorities() == {GOVERNOR_QUEUE: 1, DEFAULT_QUEUE: 2, "mine": 3}
    queues = {queue.name: queue for queue in pool.client.read_work_queues(work_pool_name=pool.name)}
    assert queues[GOVERNOR_QUEUE].concurrency_limit == 30
    assert queues["mine"].is_paused
    found = pool.client.read_deployment(pool.deployment)
    assert (found.work_pool_name, found.work_queue_name) == (pool.name, GOVERNOR_QUEUE)
    all_is_there(pool)
    assert pool.replaced().id == new.id


def die_everywhere(client: SyncPrefectClient, *, before: bool, reads: bool, every: int = 1) -> int:
    """One pool after the other, each cut off `every` calls later than the one before; after how many the last was."""
    for died in itertools.count(step=every):
        pool, dying = OldPool(client), DyingClient(client, died + 1, before=before, reads=reads)
        try:
            with suppress(Killed):
                pool.replaced(dying)
            assert pool.replaced().type == POOL_TYPE
            all_is_there(pool)
        finally:
            pool.drop()
        if dying.left > 0:
            return died
    raise AssertionError


def test_whatever_step_it_dies_after_the_next_bootstrap_ends_it_and_no_run_is_lost_or_made_twice(
    client: SyncPrefectClient,
) -> None:
    assert die_everywhere(client, before=False, reads=False, every=3) > 8


@pytest.mark.long
@pytest.mark.parametrize("before", [True, False])
def test_nor_at_any_call_whether_it_was_carried_out_or_not(client: SyncPrefectClient, before: bool) -> None:
    assert die_everywhere(client, before=before, reads=True) > 18


def test_an_order_of_queues_that_nobody_chose_becomes_ours(pool: OldPool) -> None:
    for place, queue in enumerate((DEFAULT_QUEUE, GOVERNOR_QUEUE), start=1):
        pool.client.update_work_queue(pool.client.read_work_queue_by_name(queue, pool.name).id, priority=place)
    assert pool.priorities() == {DEFAULT_QUEUE: 1, GOVERNOR_QUEUE: 2, "mine": 3}
    pool.replaced()
    assert pool.priorities() == {GOVERNOR_QUEUE: 1, DEFAULT_QUEUE: 2, "mine": 3}


@pytest.mark.parametrize("most", [5, pytest.param(MOST_IN_AN_ANSWER, marks=pytest.mark.long)])
def test_behind_more_late_agents_than_one_answer_holds_the_house_is_still_heard_of(
    client: SyncPrefectClient, most: int
) -> None:
    name = f"pool-{uuid4().hex[:8]}"
    right_pool(client, now=NOW, name=name)
    flow = client.create_flow_from_name(f"flow-{name}")
    agent, house = (
        client.create_deployment(flow, queue, work_pool_name=name, work_queue_name=queue)
        for queue in (DEFAULT_QUEUE, GOVERNOR_QUEUE)
    )
    asked = {"work_queue_names": [DEFAULT_QUEUE, GOVERNOR_QUEUE], "scheduled_before": SOON.isoformat(), "limit": most}
    try:
        for _ in range(most + 10):
            client.create_flow_run_from_deployment(agent, state=Scheduled(scheduled_time=LATE))
        govern = client.create_flow_run_from_deployment(house, state=Scheduled(scheduled_time=NOW)).id
        answer = client.request(
            "POST", "/work_pools/{name}/get_scheduled_flow_runs", path_params={"name": name}, json=asked
        )
        found = [entry["flow_run"]["id"] for entry in answer.json()]
        assert len(found) == most
        assert str(govern) in found
    finally:
        client.delete_flow(flow)
        client.delete_work_pool(name)
