"""Send the fleet to the server, as `prefect deploy --all` would, but in a fifth of its time.

The same path, entrypoint and pull step are recorded, so a process worker started in any folder runs
it. What an operator changed in the UI (a paused deployment, a schedule switched off) stays, and so do parameters
(`uses`). On a weak machine agents are deployed with fewer of their times (`cadence`), which their descriptions say.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from deployments.cadence import in_words, thin, thin_entry
from deployments.fleet import Concurrency, Entry, Schedule, checkout
from deployments.flow_parameters import load_flows, model_of
from deployments.form import PARAMETERS
from deployments.uses import Seen, Settled, Uses
from governor.errors import BadInput
from governor.model_catalogue import MOST_CADENCE

# HTTP's words for "what you sent is wrong"; anything else is about the server, its keys or its mood.
REFUSALS = frozenset({400, 409, 413, 422})
# A page of HTML says no more.
MOST_DETAIL = 600
SET_FOLDER = "prefect.deployments.steps.set_working_directory"


@dataclass(frozen=True)
class Deployed:
    """One deployment on the server. `name` is FLOW/DEPLOYMENT; `said` what was kept or dropped of its parameters."""

    name: str
    id: UUID
    created: bool
    paused: bool
    said: tuple[str, ...] = ()


def deploy(
    client: SyncPrefectClient,
    entries: Sequence[Entry],
    *,
    cadence: int = 1,
    uses: Uses | None = None,
    flows: Mapping[str, Flow[..., Any]] | None = None,
    on_refusal: Callable[[BadInput], object] | None = None,
) -> list[Deployed]:
    """Create or update every entry; safe to call again.

    Args:
        cadence: agents that run several times a day get every `cadence`-th of their times, 1: all of them.
        uses: what operators told their agents; None deploys what is written.
        flows: by entrypoint, where they are loaded already.
        on_refusal: told of each that the server refuses, and the others go on; None: the first one ends it.

    Raises:
        BadInput: a flow file cannot be imported, a parameter does not fit, or the server refuses a value.
    """
    root = checkout()
    loaded = flows or load_flows(entries, root)
    done = []
    for entry in entries:
        try:
            with uses.turn() if uses else nullcontext():
                done.append(_deploy_one(client, entry, loaded[entry.entrypoint], root, cadence=cadence, uses=uses))
        except BadInput as error:
            if on_refusal is None:
                raise
            on_refusal(error)
    return done


def _deploy_one(
    client: SyncPrefectClient, entry: Entry, flow: Flow[..., Any], root: Path, *, cadence: int, uses: Uses | None
) -> Deployed:
    name = f"{flow.name}/{entry.name}"
    before = deployment_of(client, name)
    settled = uses.settle(name, entry, model=model_of(flow), seen=seen(before)) if uses else Settled(entry)
    entry = settled.entry
    paused = entry.paused if before is None else before.paused
    paused = paused if settled.paused is None else settled.paused
    every = cadence if thin_entry(entry, cadence) is not entry else 1
    timing = {
        "description": _description(entry.description or flow.description, every),
        "schedules": _schedules(entry.schedules, before, every),
    }
    try:
        deployment_id = client.create_deployment(**_payload(client, entry, flow, root), **timing, paused=paused)
    except (PrefectHTTPStatusError, ValueError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in REFUSALS:
            raise
        raise _refused(name, error, of_operator=bool(settled.own)) from error
    if uses:
        uses.record(name, settled, now=datetime.now(UTC))
    return Deployed(name, deployment_id, created=before is None, paused=bool(paused), said=settled.said)


def _refused(name: str, error: Exception, *, of_operator: bool) -> BadInput:
    """What the server says, and where the value that it does not take was said."""
    detail = error.response.text if isinstance(error, httpx.HTTPStatusError) else str(error)
    remedy = "Correct its values in prefect.yaml, then run `hotdesk bootstrap`."
    if of_operator:
        remedy = f"`hotdesk use {name} --reset` takes back what it was told in use. {remedy}"
    return BadInput(
        f"The server refuses the deployment `{name}`: {detail[:MOST_DETAIL]}",
        means="Other deployments were saved; this one is as it was before.",
        remedy=remedy,
    )


def deployment_of(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """What the server has under FLOW/DEPLOYMENT."""
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def seen(found: DeploymentResponse | None) -> Seen | None:
    """What of it an operator may have changed."""
    if found is None:
        return None
    form = found.parameters.get(PARAMETERS)
    return Seen(form if isinstance(form, dict) else {}, found.tags, paused=found.paused)


def _payload(client: SyncPrefectClient, entry: Entry, flow: Flow[..., Any], root: Path) -> dict[str, Any]:
    limit = entry.concurrency_limit
    options = None
    if isinstance(limit, Concurrency):
        options = ConcurrencyOptions(**limit.model_dump(exclude={"limit"}, exclude_none=True))
        limit = limit.limit
    return {
        "flow_id": client.create_flow_from_name(flow.name),
        "name": entry.name,
        "version": entry.version or flow.version,
        "tags": list(entry.tags),
        "parameters": entry.parameters,
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


def _description(text: str | None, every: int) -> str | None:
    """What the agent does, and that it does it less often than is written."""
    if every == 1:
        return text
    return " ".join(filter(None, (text, f"On this machine it runs at {in_words(every)} of its times.")))


def _schedules(
    written: Sequence[Schedule], before: DeploymentResponse | None, every: int
) -> list[DeploymentScheduleCreate]:
    """The schedules as Prefect's; one that an operator switched off on the server, at any cadence, stays off.

    Those that come to the same times at this cadence run once. One of them that is off stays there as it is written:
    by that it is known again at the next cadence.
    """
    off = _switched_off(written, before.schedules if before else [])
    sent: list[DeploymentScheduleCreate] = []
    by_activity = sorted(enumerate(written), key=lambda one: not (one[1].active and one[0] not in off))
    for at, schedule in by_activity:
        made = _created(schedule, thin(schedule, every), active=schedule.active and at not in off)
        if every > 1 and any(_is_double(made, other) for other in sent):
            if made.active:
                continue
            made = _created(schedule, schedule, active=False)
        sent.append(made)
    return sent


def _created(schedule: Schedule, when: Schedule, *, active: bool) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(
        schedule=_when(when), active=active, parameters=schedule.parameters, slug=schedule.slug
    )


def _is_double(one: DeploymentScheduleCreate, other: DeploymentScheduleCreate) -> bool:
    return one.parameters == other.parameters and one.schedule == other.schedule


def _switched_off(written: Sequence[Schedule], before: Sequence[DeploymentSchedule]) -> set[int]:
    """The places of those that are off on the server.

    A time there can come of more than one that is written: first it is read at the cadence that explains most of what
    is there, which is the one of the last bootstrap; what that does not explain as it is written, then at any cadence.
    """
    # Who moves to another time zone keeps what is off.
    one_zone = len({schedule.timezone for schedule in written}) == 1
    there = [(_identity(old.schedule, one_zone), old.active) for old in before]
    if all(active for _, active in there):
        return set()
    thinned = [[thin(schedule, every) for schedule in written] for every in range(1, MOST_CADENCE + 1)]
    known = {schedule.model_dump_json(): schedule for form in thinned for schedule in form}
    identities = {written_so: _identity(_when(schedule), one_zone) for written_so, schedule in known.items()}
    forms = [[identities[schedule.model_dump_json()] for schedule in form] for form in thinned]
    last = max(forms, key=lambda form: sum(old in form for old, _ in there))
    off: set[int] = set()
    for one in (old for old, active in there if not active):
        places = ({at for at, when in enumerate(form) if when == one} for form in (last, *forms))
        off |= next(filter(None, places), set())
    return off


def _when(schedule: Schedule) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    extras: dict[str, Any] = {"timezone": schedule.timezone} if schedule.timezone else {}
    if schedule.cron is not None:
        extras |= {"day_or": schedule.day_or} if schedule.day_or is not None else {}
        return CronSchedule(cron=schedule.cron, **extras)
    if schedule.rrule is not None:
        return RRuleSchedule(rrule=schedule.rrule, **extras)
    extras |= {"anchor_date": schedule.anchor_date} if schedule.anchor_date else {}
    return IntervalSchedule(interval=timedelta(seconds=schedule.interval or 0), **extras)


def _identity(schedule: Any, one_zone: bool) -> str:
    """All but an interval's anchor, which is the moment of its first saving when none is given.

    Where all times of an agent are in one zone, the zone does not tell them apart.
    """
    return schedule.model_dump_json(exclude={"anchor_date", "timezone"} if one_zone else {"anchor_date"})
