"""Send the fleet to the server, as `prefect deploy --all` would, but in a fifth of its time.

The same path, entrypoint and pull step are recorded, so a process worker started in any folder runs
it. What an operator changed in the UI (a paused deployment, a schedule switched off) stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError, ScriptError
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from deployments.fleet import Concurrency, Entry, Schedule, checkout
from governor.errors import BadInput

SET_FOLDER = "prefect.deployments.steps.set_working_directory"


@dataclass(frozen=True)
class Deployed:
    """One deployment on the server. `name` is FLOW/DEPLOYMENT."""

    name: str
    id: UUID
    created: bool
    paused: bool


def deploy(client: SyncPrefectClient, entries: Sequence[Entry], root: Path | None = None) -> list[Deployed]:
    """Create or update every entry; safe to call again.

    Raises:
        BadInput: a flow file cannot be imported, or the server refuses a value.
    """
    root = root or checkout()
    loaded = {entry.entrypoint: load_flow(entry.entrypoint, root) for entry in entries}
    return [_deploy_one(client, entry, loaded[entry.entrypoint], root) for entry in entries]


def load_flow(entrypoint: str, root: Path) -> Flow[..., Any]:
    """The flow object of `flows/FILE.py:FUNCTION`.

    Raises:
        BadInput: the file cannot be imported.
    """
    try:
        return load_flow_from_entrypoint(str(root / entrypoint), use_placeholder_flow=False)
    except ScriptError as error:
        raise BadInput(
            f"The flow `{entrypoint}` cannot be imported: {error.user_exc!r}.",
            means="Nothing was deployed.",
            remedy="Correct the file, then run `hotdesk bootstrap`.",
        ) from error


def _deploy_one(client: SyncPrefectClient, entry: Entry, flow: Flow[..., Any], root: Path) -> Deployed:
    name = f"{flow.name}/{entry.name}"
    try:
        before = client.read_deployment_by_name(name)
    except ObjectNotFound:
        before = None
    paused = entry.paused if before is None else before.paused
    try:
        deployment_id = client.create_deployment(**_payload(client, entry, flow, root, before), paused=paused)
    except (PrefectHTTPStatusError, ValueError) as error:
        detail = error.response.text if isinstance(error, httpx.HTTPStatusError) else error
        raise BadInput(
            f"The server refuses the deployment `{name}`: {detail}",
            means="The deployments before it were saved.",
            remedy="Correct its values in prefect.yaml, then run `hotdesk bootstrap`.",
        ) from error
    return Deployed(name, deployment_id, created=before is None, paused=bool(paused))


def _payload(
    client: SyncPrefectClient, entry: Entry, flow: Flow[..., Any], root: Path, before: DeploymentResponse | None
) -> dict[str, Any]:
    limit = entry.concurrency_limit
    options = None
    if isinstance(limit, Concurrency):
        options = ConcurrencyOptions(**limit.model_dump(exclude={"limit"}, exclude_none=True))
        limit = limit.limit
    return {
        "flow_id": client.create_flow_from_name(flow.name),
        "name": entry.name,
        "version": entry.version or flow.version,
        "description": entry.description or flow.description,
        "tags": list(entry.tags),
        "parameters": entry.parameters,
        "schedules": [_schedule(schedule, before) for schedule in entry.schedules],
        "work_pool_name": entry.work_pool.name,
        "work_queue_name": entry.work_pool.work_queue_name,
        "job_variables": entry.work_pool.job_variables,
        "concurrency_limit": limit,
        "concurrency_options": options,
        "enforce_parameter_schema": entry.enforce_parameter_schema,
        "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        "entrypoint": entry.entrypoint,
        "pull_steps": [{SET_FOLDER: {"directory": str(root)}}],
    }


def _schedule(schedule: Schedule, before: DeploymentResponse | None) -> DeploymentScheduleCreate:
    """The schedule as Prefect's; one that an operator switched off on the server stays off."""
    when = _when(schedule)
    off = [old.schedule for old in before.schedules if not old.active] if before else []
    return DeploymentScheduleCreate(
        schedule=when,
        active=schedule.active and not any(_same(when, old) for old in off),
        parameters=schedule.parameters,
        slug=schedule.slug,
    )


def _when(schedule: Schedule) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    extras: dict[str, Any] = {"timezone": schedule.timezone} if schedule.timezone else {}
    if schedule.cron is not None:
        extras |= {"day_or": schedule.day_or} if schedule.day_or is not None else {}
        return CronSchedule(cron=schedule.cron, **extras)
    if schedule.rrule is not None:
        return RRuleSchedule(rrule=schedule.rrule, **extras)
    extras |= {"anchor_date": schedule.anchor_date} if schedule.anchor_date else {}
    return IntervalSchedule(interval=timedelta(seconds=schedule.interval or 0), **extras)


def _same(one: Any, other: Any) -> bool:
    """Equal but for an interval's anchor, which is the moment of its first saving when none is given."""
    dumps = [schedule.model_dump(mode="json", exclude={"anchor_date"}) for schedule in (one, other)]
    return dumps[0] == dumps[1]
