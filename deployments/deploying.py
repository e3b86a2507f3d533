"""Send the fleet to the server, as `prefect deploy --all` would, but in a fifth of its time, and only what changed.

What the server has is read in one go, and a deployment that is there as it would be sent (`unchanged`) is left alone,
with its runs to come. The same path, entrypoint and pull step are recorded, so a worker started in any folder runs it.
What an operator changed in the UI (a paused deployment, a schedule switched off) stays, and so do parameters (`uses`).
On a weak machine agents are deployed with fewer of their times (`cadence`), which their descriptions say.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from deployments.bootstrap_names import SET_FOLDER
from deployments.cadence import in_words, thin_entry
from deployments.fleet import Concurrency, Entry, checkout
from deployments.flow_parameters import load_flows, model_of
from deployments.form import PARAMETERS
from deployments.paging import all_pages
from deployments.times import schedules_of
from deployments.unchanged import is_there
from deployments.uses import Seen, Settled, Uses
from governor.errors import BadInput

# HTTP's words for "what you sent is wrong"; anything else is about the server, its keys or its mood.
REFUSALS = frozenset({400, 409, 413, 422})
# A page of HTML says no more.
MOST_DETAIL = 600


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
    batch = _Batch(client, flows or load_flows(entries, root), cadence=cadence, uses=uses, root=root)
    names = [f"{batch.flows[entry.entrypoint].name}/{entry.name}" for entry in entries]
    done: list[Deployed] = []
    # Alone from what is read to what is sent, of all of them. One after the other: three at a time were no faster
    # (measured on 2 cores), for the server is one process, and SQLite has one writer.
    with uses.turn() if uses else nullcontext():
        there = _there(client, names)
        wanted = [batch.plan(name, entry, there.get(name)) for name, entry in zip(names, entries, strict=True)]
        batch.know_flows(wanted)
        for one in wanted:
            try:
                done.append(batch.carry_out(one))
            except BadInput as error:
                if on_refusal is None:
                    raise
                on_refusal(error)
    return done


@dataclass(frozen=True)
class _Wanted:
    """One deployment as it should be. `sent`: what the server is told; `there`: the id it has so already."""

    name: str
    flow: str
    settled: Settled
    sent: dict[str, Any]
    before: DeploymentResponse | None
    is_there: bool


class _Batch:
    """Entries that are sent one after the other; what they share (flows, forms) is asked and made once."""

    def __init__(
        self,
        client: SyncPrefectClient,
        flows: Mapping[str, Flow[..., Any]],
        *,
        cadence: int,
        uses: Uses | None,
        root: Path,
    ) -> None:
        self.client, self.flows, self.cadence, self.uses, self.root = client, flows, cadence, uses, root
        self._ids: dict[str, UUID] = {}
        self._schemas: dict[str, dict[str, Any]] = {}

    def plan(self, name: str, entry: Entry, before: DeploymentResponse | None) -> _Wanted:
        """What one should be, with what its operator told it and did on the server."""
        flow, uses = self.flows[entry.entrypoint], self.uses
        settled = uses.settle(name, entry, model=model_of(flow), seen=seen(before)) if uses else Settled(entry)
        entry = settled.entry
        paused = entry.paused if before is None else before.paused
        paused = paused if settled.paused is None else settled.paused
        every = self.cadence if thin_entry(entry, self.cadence) is not entry else 1
        sent = {
            **_payload(entry, flow, self.root),
            "parameter_openapi_schema": self._schema(entry.entrypoint),
            "description": _description(entry.description or flow.description, every),
            "schedules": schedules_of(entry.schedules, before, every),
            "paused": paused,
        }
        same = before is not None and is_there(before, sent)
        return _Wanted(name, flow.name, settled, sent, before, is_there=same)

    def know_flows(self, wanted: Iterable[_Wanted]) -> None:
        """Ask the server for the flows of those that are going to be sent."""
        for flow in dict.fromkeys(one.flow for one in wanted if not one.is_there):
            self._ids[flow] = self.client.create_flow_from_name(flow)

    def carry_out(self, one: _Wanted) -> Deployed:
        """Send it, where the server does not have it so, and write down what it was told."""
        before = one.before
        deployment_id = before.id if before is not None and one.is_there else self._send(one)
        if self.uses:
            self.uses.record(one.name, one.settled, now=datetime.now(UTC))
        paused = bool(one.sent["paused"])
        return Deployed(one.name, deployment_id, created=before is None, paused=paused, said=one.settled.said)

    def _send(self, one: _Wanted) -> UUID:
        try:
            return self.client.create_deployment(flow_id=self._ids[one.flow], **one.sent)
        except (PrefectHTTPStatusError, ValueError) as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code not in REFUSALS:
                raise
            raise _refused(one.name, error, of_operator=bool(one.settled.own)) from error

    def _schema(self, entrypoint: str) -> dict[str, Any]:
        """What a flow takes, as the UI asks for it."""
        if entrypoint not in self._schemas:
            self._schemas[entrypoint] = parameter_schema(self.flows[entrypoint]).model_dump(exclude_unset=True)
        return self._schemas[entrypoint]


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


def _there(client: SyncPrefectClient, names: Sequence[str]) -> dict[str, DeploymentResponse]:
    """What the server has of these, by FLOW/DEPLOYMENT: one by its name, more with all others in one go."""
    if len(names) == 1:
        found = deployment_of(client, names[0])
        return {} if found is None else {names[0]: found}
    flows = {flow.id: flow.name for flow in all_pages(client.read_flows)}
    return {f"{flows.get(one.flow_id)}/{one.name}": one for one in all_pages(client.read_deployments)}


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


def _payload(entry: Entry, flow: Flow[..., Any], root: Path) -> dict[str, Any]:
    limit = entry.concurrency_limit
    options = None
    if isinstance(limit, Concurrency):
        options = ConcurrencyOptions(**limit.model_dump(exclude={"limit"}, exclude_none=True))
        limit = limit.limit
    return {
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
        "entrypoint": entry.entrypoint,
        "pull_steps": [{SET_FOLDER: {"directory": str(root)}}],
    }


def _description(text: str | None, every: int) -> str | None:
    """What the agent does, and that it does it less often than is written."""
    if every == 1:
        return text
    return " ".join(filter(None, (text, f"On this machine it runs at {in_words(every)} of its times.")))
