"""The pool and its queues, without a server: somebody else's pool is left alone; what is carried into a new one."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, POOL
from deployments.pool import right_pool
from deployments.replacing import Queue, Replacing, carried, governor_first
from governor.errors import NotReady

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NEW: dict[str, Any] = {
    "job_configuration": {"command": "{{ command }}", "env": "{{ env }}", "new": "{{ new }}"},
    "variables": {"type": "object", "properties": {"command": {"default": None}, "env": {}, "new": {"default": 1}}},
}


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
