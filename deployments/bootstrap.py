"""Bring a server to what the profile and `prefect.yaml` say: limits, pool, queues, blocks, deployments.

Safe to repeat: what is right stays untouched, what an operator edited (a paused deployment, an agent's
parameters, a block's values) stays too. Starts no process.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.workers.process import ProcessWorker

from deployments.bootstrap_names import DEFAULT_QUEUE, GOVERNOR_QUEUE, POOL
from deployments.cadence import less_often
from deployments.deploying import deploy
from deployments.fleet import Entry, checkout, read_fleet
from deployments.flow_parameters import load_flows
from deployments.uses import Uses
from governor.errors import BadInput, NotReady
from governor.lease import served_leases
from governor.mirror import reconcile, right_limits
from governor.policy.facts import Profile
from governor.settings import home

DEFAULT_BLOCK = "default"
POOL_TYPE = "process"
CREATED = "was created"


@dataclass
class Bootstrapped:
    """What stands on the server now, and what had to be changed, one plain sentence each.

    `refused`: the deployments that the server does not take as they are.
    """

    limits: dict[str, int] = field(default_factory=dict)
    queues: list[str] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)
    deployments: list[str] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    refused: list[BadInput] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each."""
        names = ("limits", "queues", "blocks", "deployments")
        return {name: len(getattr(self, name)) for name in names}

    def __iter__(self) -> Iterator[str]:
        """What to tell a person: one line of counts, then every change but what was created."""
        limits = ", ".join(f"{line} ({slots})" for line, slots in sorted(self.limits.items()))
        yield f"limits {limits}; pool {POOL}, queues {', '.join(self.queues)}; {len(self.blocks)} blocks"
        yield f"{len(self.deployments)} deployments, {len(self.paused)} of them paused"
        yield from (change for change in self.changed if not change.endswith(CREATED))


def bootstrap(
    profile: Profile, entries: list[Entry] | None = None, *, say: Callable[[str], None] | None = None
) -> Bootstrapped:
    """Do all of it through one client; the Prefect environment must be applied before the import.

    Raises:
        BadInput: `prefect.yaml`, a parameter in it or a flow file is wrong; nothing was sent then.
        NotReady: the server does not answer, or a work pool of another type has our name.
    """
    tell = say or (lambda _text: None)
    entries = read_fleet() if entries is None else entries
    flows, uses = load_flows(entries, checkout()), Uses(home())
    done = Bootstrapped()
    try:
        with get_client(sync_client=True) as client:
            done.limits.update(profile.slots)
            done.changed += right_limits(client, profile.slots)
            _pool(client, done)
            _blocks(client, done)
            tell(f"deploying {len(entries)} flows")
            if said := less_often(entries, profile):
                tell(said)
            cadence, refuse = profile.cadence, done.refused.append
            for deployed in deploy(client, entries, cadence=cadence, uses=uses, flows=flows, on_refusal=refuse):
                done.deployments.append(deployed.name)
                done.paused += [deployed.name] if deployed.paused else []
                done.changed += [f"deployment {deployed.name} {CREATED}"] if deployed.created else []
                done.changed += [f"{deployed.name} {said}" for said in deployed.said]
            now = datetime.now(UTC)
            done.changed += reconcile(client, profile.slots, leases=served_leases(client), pool=POOL, now=now)
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise NotReady(
            f"The Prefect server did not carry out the bootstrap: {type(error).__name__}: {error}.",
            means="What was done before stays; running it again goes on from there.",
            remedy='Check the server with `hotdesk doctor`, and `eval "$(hotdesk env)"` in this shell.',
        ) from error
    return done


def _pool(client: SyncPrefectClient, done: Bootstrapped) -> None:
    try:
        pool = client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        pool = client.create_work_pool(WorkPoolCreate(name=POOL, type=POOL_TYPE, base_job_template=template))
        done.changed.append(f"work pool {POOL} {CREATED}")
    if pool.type != POOL_TYPE:
        raise NotReady(
            f"The work pool `{POOL}` on this server has the type `{pool.type}`, not `{POOL_TYPE}`.",
            means="No deployment was sent.",
            remedy="Rename or delete that pool in the Prefect UI, then run the command again.",
        )
    for queue in (DEFAULT_QUEUE, GOVERNOR_QUEUE):
        _queue(client, queue, done)


def _queue(client: SyncPrefectClient, queue: str, done: Bootstrapped) -> None:
    done.queues.append(queue)
    try:
        client.read_work_queue_by_name(queue, work_pool_name=POOL)
    except ObjectNotFound:
        client.create_work_queue(queue, work_pool_name=POOL)
        done.changed.append(f"work queue {queue} {CREATED}")


def _blocks(client: SyncPrefectClient, done: Bootstrapped) -> None:
    """Register our block types; a document that an operator edited is never overwritten."""
    for kind in block_types():
        kind.register_type_and_schema()
        slug = kind.get_block_type_slug()
        if any(info.is_required() for info in kind.model_fields.values()):
            continue  # nobody but the operator can say what it is about: there is no default document
        done.blocks.append(f"{slug}/{DEFAULT_BLOCK}")
        try:
            client.read_block_document_by_name(DEFAULT_BLOCK, slug)
        except ObjectNotFound:
            kind().save(DEFAULT_BLOCK)
            done.changed.append(f"block {slug}/{DEFAULT_BLOCK} {CREATED}")


def block_types() -> list[type[Block]]:
    """What an operator edits in the UI."""
    from blocks.cloud_tier import CloudTier
    from blocks.policy import GovernorPolicy
    from blocks.router import ModelRouter

    return [ModelRouter, GovernorPolicy, CloudTier]
