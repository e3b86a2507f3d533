"""The work pool of the fleet and its queues: what type it has, and that it is there.

A pool of the other of our two types is replaced by `deployments.replacing`. What an operator set on the pool or a
queue is never written over.
"""

import sys
from datetime import datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, POOL, POOL_TYPE, PROCESS_TYPE
from deployments.replacing import finish, keep_in_mind, unfinished
from governor.errors import NotReady

CREATED = "was created"
QUEUES = (DEFAULT_QUEUE, GOVERNOR_QUEUE)


def pool_type(platform: str = sys.platform) -> str:
    """`hotdesk`; `process` where fork is unsafe once threads or Objective-C ran (macOS) or missing (Windows)."""
    return POOL_TYPE if platform == "linux" else PROCESS_TYPE


def template_of(kind: str) -> dict[str, Any]:
    """The base job template of a new pool of that type."""
    if kind == POOL_TYPE:
        from deployments.fleet_worker import FleetWorker

        return FleetWorker.get_default_base_job_template()
    from prefect.workers.process import ProcessWorker

    return ProcessWorker.get_default_base_job_template()


def right_pool(client: SyncPrefectClient, *, now: datetime, name: str = POOL, kind: str | None = None) -> list[str]:
    """The pool is there with its type and its queues; what had to be done, one plain sentence each.

    Args:
        now: aware UTC.
        kind: its type; None: the one for this machine.

    Raises:
        NotReady: the pool has a type of somebody else, or an old worker makes it again as soon as it is deleted.
    """
    kind = kind or pool_type()
    found, said = _pool(client, name), []
    if kind == PROCESS_TYPE and found is None:
        said.append(f"work pool {name}: runs start as processes of their own here, because fork is unsafe")
    if found is not None and found.type not in (POOL_TYPE, PROCESS_TYPE):
        raise _of_another(found, kind)
    if found is not None and found.type != kind:
        keep_in_mind(client, found, now=now)
        client.delete_work_pool(name)
        found = None
    left = unfinished(name)
    if found is None:
        template = template_of(kind)
        settings: dict[str, Any] = left.settings(template) if left else {"base_job_template": template}
        _create(client, WorkPoolCreate(name=name, type=kind, **settings))
        said.append(f"work pool {name} {CREATED}" if left is None else f"work pool {name} has the type {kind} now")
    if left is not None:
        said += finish(client, name, left)
    return said + _queues(client, name)


def _pool(client: SyncPrefectClient, name: str) -> WorkPool | None:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return None


def _create(client: SyncPrefectClient, wanted: WorkPoolCreate) -> None:
    try:
        client.create_work_pool(wanted)
    except ObjectAlreadyExists as error:
        raise NotReady(
            f"The work pool `{wanted.name}` was made again by somebody else while it was being replaced.",
            means="Its scheduled runs are kept in mind; no deployment was sent.",
            remedy="Stop the workers of an earlier version (`hotdesk down`), then run the command again.",
        ) from error


def _queues(client: SyncPrefectClient, name: str) -> list[str]:
    there = {queue.name for queue in client.read_work_queues(work_pool_name=name)}
    missing = [queue for queue in QUEUES if queue not in there]
    for queue in missing:
        client.create_work_queue(queue, work_pool_name=name)
    return [f"work queue {queue} {CREATED}" for queue in missing]


def _of_another(pool: WorkPool, kind: str) -> NotReady:
    return NotReady(
        f"The work pool `{pool.name}` on this server has the type `{pool.type}`, not `{kind}`.",
        means="No deployment was sent.",
        remedy="Rename or delete that pool in the Prefect UI, then run the command again.",
    )
