"""The pool and its queues, without a server: somebody else's pool is left alone; what is carried into a new one."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType, WorkPool
from prefect.exceptions import ObjectNotFound

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, POOL
from deployments.pool import right_pool
from deployments.replacing import Queue, Replacing, carried, finish, governor_first, keep_in_mind, unfinished
from governor.errors import NotReady
from governor.settings import Home

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NEW: dict[str, Any] = {
    "job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "new": "{{ new }}"},
    "variables": {"type": "object", "properties": {"command": {"default": None}, "env": {}, "new": {"default": 1}}},
}


class FakeServer:
    """A FAKE of the client: a new pool without queues, and one run that is listed as scheduled.

    Args:
        now: the state of that run when it is asked for again; None: it is gone.
    """

    def __init__(self, run: FlowRun, now: StateType | None, address: str = "http://desk.lan:4200/api/") -> None:
        self.run, self.now, self.api_url = run, now, httpx.URL(address)
        self.calls: list[str] = []

    def read_work_queues(self, **_named: Any) -> list[Any]:
        return []

    def read_deployments(self, **_named: Any) -> list[Any]:
        return []

    def read_flow_runs(self, **_named: Any) -> list[FlowRun]:
        return [self.run]

    def read_flow_run(self, flow_run_id: UUID) -> SimpleNamespace:
        if self.now is None:
            raise ObjectNotFound(LookupError(flow_run_id))
        return SimpleNamespace(state_type=self.now)

    def request(self, method: str, path: str, **_named: Any) -> httpx.Response:
        self.calls.append(f"{method} {path}")
        return httpx.Response(201, json={"id": str(uuid4())})

    def delete_flow_run(self, flow_run_id: UUID) -> None:
        self.calls.append(f"delete {flow_run_id}")

    @property
    def as_client(self) -> SyncPrefectClient:
        return cast(SyncPrefectClient, self)


@pytest.mark.parametrize(
    ("now", "copies"), [(StateType.SCHEDULED, 1), (StateType.PENDING, 0), (StateType.RUNNING, 0), (None, 0)]
)
def test_a_run_that_an_old_worker_took_meanwhile_is_left_to_it(
    now: StateType | None, copies: int, hotdesk_home: Home
) -> None:
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="late")
    server = FakeServer(run, now)
    [said] = finish(server.as_client, POOL, Replacing(pool_id=uuid4(), at=NOW, moved=True, runs={run.id: "default"}))
    assert said == f"0 deployments and {copies} waiting runs are in the new work pool"
    assert server.calls == ["POST /flow_runs/", f"delete {run.id}"] * copies


def test_what_is_kept_in_mind_of_one_server_is_nothing_to_another(hotdesk_home: Home) -> None:
    pool = WorkPool(id=uuid4(), name=POOL, type="process", default_queue_id=uuid4())
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="late")
    here, there = (FakeServer(run, None, f"http://{host}/api/").as_client for host in ("a.lan:4200", "b.lan:4200"))
    keep_in_mind(here, pool, now=NOW)
    assert unfinished(there, POOL) is None
    keep_in_mind(there, pool.model_copy(update={"id": uuid4()}), now=NOW)
    finish(there, POOL, cast(Replacing, unfinished(there, POOL)))
    left = unfinished(here, POOL)
    assert left is not None and left.pool_id == pool.id


class FakePools:
    """A FAKE of the client that has one pool of another type and can only be asked for it."""

    def read_work_pool(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, type="docker", id=uuid4())


def test_a_pool_of_another_type_is_left_alone_and_what_to_do_is_said() -> None:
    with pytest.raises(NotReady) as caught:
        right_pool(cast(SyncPrefectClient, FakePools()), now=NOW)
    assert caught.value.happened == f"The work pool `{POOL}` on this server has the type `docker`, not `hotdesk`."
    assert "Rename or delete that pool" in caught.value.remedy


def test_what_an_operator_wrote_into_the_template_is_carried_and_what_is_new_is_there() -> None:
    old: dict[str, Any] = {
        "job_configuration": {"command": "{{ command }}", "env": {"TOWN": "{{ town }}"}},
        "variables": {
            "type": "object",
            "properties": {"command": {"default": "nice -n 5 prefect"}, "env": {"default": {"A": "1"}}, "town": {}},
            "required": ["town"],
        },
    }
    assert carried(old, NEW) == {
        "job_configuration": {"command": "{{ command }}", "env": {"TOWN": "{{ town }}"}, "new": "{{ new }}"},
        "variables": {
            "type": "object",
            "properties": {
                "command": {"default": "nice -n 5 prefect"},
                "env": {"default": {"A": "1"}},
                "town": {},
                "new": {"default": 1},
            },
            "required": ["town"],
        },
    }
    assert carried({}, NEW) == NEW


def test_the_pool_is_made_again_with_all_that_was_set_on_it() -> None:
    storage = {"bundle_upload_step": {"step": {"bucket": "mine"}}}
    left = Replacing(
        pool_id=uuid4(), at=NOW, is_paused=True, description="mine", concurrency_limit=7, template=NEW, storage=storage
    )
    assert left.settings(NEW) == {
        "base_job_template": NEW,
        "is_paused": True,
        "description": "mine",
        "concurrency_limit": 7,
        "storage_configuration": storage,
    }


@pytest.mark.parametrize(
    ("default", "governor", "mine", "order"),
    [
        (1, 2, 3, [GOVERNOR_QUEUE, DEFAULT_QUEUE, "mine"]),  # as versions before 0.7 made them
        (2, 1, 3, [GOVERNOR_QUEUE, DEFAULT_QUEUE, "mine"]),
        (1, 3, 2, [DEFAULT_QUEUE, "mine", GOVERNOR_QUEUE]),  # somebody chose this
        (2, 3, 1, ["mine", DEFAULT_QUEUE, GOVERNOR_QUEUE]),
    ],
)
def test_the_governor_goes_first_unless_somebody_chose_the_order(
    default: int, governor: int, mine: int, order: list[str]
) -> None:
    queues = [
        Queue(name=DEFAULT_QUEUE, priority=default, is_paused=True),
        Queue(name=GOVERNOR_QUEUE, priority=governor, concurrency_limit=3),
        Queue(name="mine", priority=mine),
    ]
    turned = sorted(governor_first(queues), key=lambda queue: queue.priority or 0)
    assert [queue.name for queue in turned] == order
    assert {(queue.name, queue.is_paused, queue.concurrency_limit) for queue in turned} == {
        (DEFAULT_QUEUE, True, None),
        (GOVERNOR_QUEUE, False, 3),
        ("mine", False, None),
    }
