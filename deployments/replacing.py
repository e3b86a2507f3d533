"""A work pool gets another type: it is deleted and made again, and all that was in it goes on in the new one.

No call of the API changes a type, moves a run or renames a pool. Deleting a pool takes its queues with it and leaves
its deployments and runs without any. So what was there is kept in mind first, in the state database; what follows can
be cut off anywhere and is done again by the next bootstrap. When to delete and to make is left to `deployments.pool`.
"""

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled
from pydantic import BaseModel

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE
from deployments.paging import all_pages
from governor.state.sessions import recall, remember

# The server's words for "not so": somebody deleted it meanwhile, or its values do not fit its own schema.
REFUSALS = frozenset({400, 404, 409, 422})
IN_PROCESS = "in_process"


class Queue(BaseModel):
    """What an operator may have set on one."""

    name: str
    description: str | None = None
    is_paused: bool = False
    concurrency_limit: int | None = None
    priority: int | None = None


class Replacing(BaseModel):
    """A pool as it was before it was deleted.

    Attributes:
        at: when it was looked at. moved: its deployments are in the new pool.
        deployments, runs: by id, the queue of each; runs are those that were scheduled.
    """

    pool_id: UUID
    at: datetime
    moved: bool = False
    description: str | None = None
    is_paused: bool = False
    concurrency_limit: int | None = None
    template: dict[str, Any] = {}
    storage: dict[str, Any] = {}
    queues: list[Queue] = []
    deployments: dict[UUID, str] = {}
    runs: dict[UUID, str] = {}

    def settings(self, template: dict[str, Any]) -> dict[str, Any]:
        """What a new pool is made with; `template` is that of its type."""
        return {
            "base_job_template": carried(self.template, template),
            "is_paused": self.is_paused,
            "description": self.description,
            "concurrency_limit": self.concurrency_limit,
            "storage_configuration": self.storage,
        }


def carried(old: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """The old base job template, and what only the new one knows.

    Both types take the same job configuration, so an operator's own variables and what is made of them go on working.
    """
    made = {**template, **old}
    for name in template.keys() & old.keys():
        if isinstance(template[name], dict) and isinstance(old[name], dict):
            made[name] = carried(old[name], template[name])
    return deepcopy(made)


def unfinished(client: SyncPrefectClient, name: str) -> Replacing | None:
    """What a replacing of this pool on this server has still to do; None where there is none."""
    text = recall(_key(client, name))
    return Replacing.model_validate_json(text) if text else None


def keep_in_mind(client: SyncPrefectClient, pool: WorkPool, *, now: datetime) -> None:
    """Write down what is in the pool, before it is deleted.

    One that an old worker made again after that has nothing that is not written down already.
    """
    before = unfinished(client, pool.name)
    if before is not None and before.pool_id != pool.id:
        return
    queues = client.read_work_queues(work_pool_name=pool.name)
    left = Replacing(
        pool_id=pool.id,
        at=now,
        description=pool.description,
        is_paused=pool.is_paused,
        concurrency_limit=pool.concurrency_limit,
        template=pool.base_job_template,
        storage=pool.storage_configuration.model_dump(mode="json", exclude_none=True),
        queues=[Queue.model_validate(queue, from_attributes=True) for queue in queues],
        deployments={one.id: one.work_queue_name or DEFAULT_QUEUE for one in _deployments_in(client, pool.name)},
        runs={run.id: run.work_queue_name or DEFAULT_QUEUE for run in _scheduled(client, pool.name)},
    )
    remember(_key(client, pool.name), left.model_dump_json())


def finish(client: SyncPrefectClient, name: str, left: Replacing) -> list[str]:
    """Bring queues, deployments and scheduled runs into the new pool; what was done, in words.

    The order is what keeps a run from being lost or made twice: no run is copied before every deployment is in the new
    pool, and none is deleted before its copy is there.
    """
    _right_queues(client, name, left.queues)
    refused: list[str] = []
    if not left.moved:
        refused = list(_move_deployments(client, name, left))
        left.moved = True
        remember(_key(client, name), left.model_dump_json())
    copied = sum(_copy(client, name, run, _queue_of(run, left)) for run in _orphans(client, left))
    remember(_key(client, name), "")
    return [f"{len(left.deployments)} deployments and {copied} waiting runs are in the new work pool", *refused]


def _right_queues(client: SyncPrefectClient, name: str, queues: list[Queue]) -> None:
    there = {queue.name: queue for queue in client.read_work_queues(work_pool_name=name)}
    for queue in sorted(governor_first(queues), key=lambda one: one.priority or 0):
        found = there.get(queue.name)
        if found is None:
            client.create_work_queue(**queue.model_dump(exclude_none=True), work_pool_name=name)
        elif Queue.model_validate(found, from_attributes=True) != queue:
            client.update_work_queue(found.id, **queue.model_dump(exclude={"name"}))


def governor_first(queues: list[Queue]) -> list[Queue]:
    """The governor's queue before that of the agents, where nobody ever chose their order.

    Versions before 0.7 made it after the agents' queue, which comes with the pool.
    """
    places = {queue.name: queue.priority for queue in queues}
    if (places.get(DEFAULT_QUEUE), places.get(GOVERNOR_QUEUE)) != (1, 2):
        return queues
    turned = {DEFAULT_QUEUE: 2, GOVERNOR_QUEUE: 1}
    return [queue.model_copy(update={"priority": turned.get(queue.name, queue.priority)}) for queue in queues]


def _move_deployments(client: SyncPrefectClient, name: str, left: Replacing) -> Iterator[str]:
    """Into the queue of the same name. Their runs to come are made again by the server, from `at` on.

    Its scheduler begins some seconds after now: a run that is due before that would be lost.
    """
    ids = DeploymentFilter(id=DeploymentFilterId(any_=list(left.deployments)))
    for found in all_pages(partial(client.read_deployments, deployment_filter=ids)):
        update = DeploymentUpdate(work_pool_name=name, work_queue_name=left.deployments[found.id])
        try:
            client.update_deployment(found.id, update)
            if not found.paused:
                since = {"start_time": left.at.isoformat()}
                client.request("POST", "/deployments/{id}/schedule", path_params={"id": found.id}, json=since)
        except (ObjectNotFound, PrefectHTTPStatusError) as error:
            if isinstance(error, PrefectHTTPStatusError) and error.response.status_code not in REFUSALS:
                raise
            yield f"the deployment {found.name} could not be brought into the work pool {name}: {str(error)[:200]}"


def _orphans(client: SyncPrefectClient, left: Replacing) -> list[FlowRun]:
    """The scheduled runs that were in the old pool, or came to it while it was being deleted.

    Those that their own process runs again stay with it, and runs that had no queue before are nobody's.
    """
    return [
        run
        for run in _scheduled(client)
        if run.work_queue_id is None
        and run.empirical_policy.retry_type != IN_PROCESS
        and (run.id in left.runs or (_created_since(run, left.at) and run.deployment_id in left.deployments))
    ]


def _copy(client: SyncPrefectClient, name: str, run: FlowRun, queue: str) -> bool:
    """The same run in the new pool, once. The old one goes; one that began already stays, cancelled, for its logs.

    False: it does not wait any more. A worker of the old pool that still lives may have taken it since it was listed.
    """
    if not _still_waits(client, run):
        return False
    due = run.next_scheduled_start_time or run.expected_start_time
    details = {"scheduled_time": due.isoformat()} if due else {}
    same = {"name", "flow_id", "flow_version", "parameters", "context", "parent_task_run_id", "tags", "labels"}
    sent = run.model_dump(mode="json", include={*same, "deployment_id", "job_variables", "empirical_policy"})
    sent["state"] = {"type": StateType.SCHEDULED.value, "name": "Scheduled", "state_details": details}
    sent |= {"work_pool_name": name, "work_queue_name": queue, "idempotency_key": f"{name} again {run.id}"}
    made = client.request("POST", "/flow_runs/", json=sent).json()["id"]
    with suppress(ObjectNotFound):
        if run.run_count:
            gone = Cancelled(message=f"It goes on as the run {made}: its work pool was replaced.")
            client.set_flow_run_state(run.id, gone, force=True)
        else:
            client.delete_flow_run(run.id)
    return True


def _still_waits(client: SyncPrefectClient, run: FlowRun) -> bool:
    try:
        return client.read_flow_run(run.id).state_type == StateType.SCHEDULED
    except ObjectNotFound:
        return False


def _queue_of(run: FlowRun, left: Replacing) -> str:
    known = left.deployments.get(run.deployment_id) if run.deployment_id else None
    queue = left.runs.get(run.id) or run.work_queue_name or known or DEFAULT_QUEUE
    return queue if queue in {one.name for one in left.queues} else known or DEFAULT_QUEUE


def _created_since(run: FlowRun, at: datetime) -> bool:
    return run.created is not None and run.created >= at


def _deployments_in(client: SyncPrefectClient, name: str) -> list[DeploymentResponse]:
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
    return all_pages(partial(client.read_deployments, work_pool_filter=pool))


def _scheduled(client: SyncPrefectClient, name: str | None = None) -> list[FlowRun]:
    """The runs that wait for their time, of one pool or of all and of none."""
    state = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[name])) if name else None
    return all_pages(partial(client.read_flow_runs, flow_run_filter=state, work_pool_filter=pool))


def _key(client: SyncPrefectClient, name: str) -> str:
    """With the server: a pool of the same name on another one is nobody's business here."""
    server = client.api_url
    return f"replacing_pool_{name} {server.netloc.decode()}{server.path}"
