"""The work pool of the fleet and its queues: that it is there, with our type.

A `process` pool of an earlier version is replaced by `deployments.replacing`. What an operator set on the pool or a
queue is never written over. How runs start where a fork is unsafe is left to the worker.
"""

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
# One answer of the server holds 200 runs at most, those of the first queue first: behind 200 late agents nobody would
# hear of a `govern`. The server moves every queue back that has this place or a later one.
FIRST = 1


def right_pool(client: SyncPrefectClient, *, now: datetime, name: str = POOL) -> list[str]:
    """The pool is there with our type and its queues; what had to be done, one plain sentence each.

    Args:
        now: aware UTC.

    Raises:
        NotReady: the pool has a type of somebody else, or an old worker makes it again as soon as it is deleted.
    """
    found, said = _pool(client, name), []
    if found is not None and found.type not in (POOL_TYPE, PROCESS_TYPE):
        raise _of_another(found)
    if found is not None and found.type == PROCESS_TYPE:
        keep_in_mind(client, found, now=now)
        client.delete_work_pool(name)
        found = None
    left = unfinished(client, name)
    if found is None:
        template = _template()
        settings: dict[str, Any] = left.settings(template) if left else {"base_job_template": template}
        _create(client, WorkPoolCreate(name=name, type=POOL_TYPE, **settings))
        said.append(f"work pool {name} {CREATED}" if left is None else f"work pool {name} has the type {POOL_TYPE} now")
    if left is not None:
        said += finish(client, name, left)
    return said + _queues(client, name)


def _template() -> dict[str, Any]:
    """The base job template of a new pool. Only then the worker is imported, for 0.3 s."""
    from deployments.fleet_worker import FleetWorker

    return FleetWorker.get_default_base_job_template()


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
    """Those that are missing; the governor's goes before all others."""
    there = {queue.name for queue in client.read_work_queues(work_pool_name=name)}
    missing = [queue for queue in QUEUES if queue not in there]
    for queue in missing:
        client.create_work_queue(queue, work_pool_name=name, priority=FIRST if queue == GOVERNOR_QUEUE else None)
    return [f"work queue {queue} {CREATED}" for queue in missing]


def _of_another(pool: WorkPool) -> NotReady:
    return NotReady(
        f"The work pool `{pool.name}` on this server has the type `{pool.type}`, not `{POOL_TYPE}`.",
        means="No deployment was sent.",
        remedy="Rename or delete that pool in the Prefect UI, then run the command again.",
    )
