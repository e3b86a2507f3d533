"""Bring a server to what the profile and `prefect.yaml` say: limits, pool, queues, blocks, deployments.

Safe to repeat: what is right stays untouched, what an operator edited (a paused deployment, an agent's
parameters, a block's values) stays too. Starts no process.
"""

import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flows import Flow

from deployments.bootstrap_names import POOL
from deployments.cadence import less_often
from deployments.deploying import deploy
from deployments.fleet import Entry, checkout, read_fleet
from deployments.flow_parameters import load_flows
from deployments.pool import CREATED, QUEUES, right_pool
from deployments.uses import Uses
from governor.errors import BadInput, NotReady
from governor.lease import served_leases
from governor.mirror import reconcile, right_limits
from governor.policy.facts import Profile
from governor.settings import home

DEFAULT_BLOCK = "default"


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


@dataclass(frozen=True)
class Written:
    """What is in `prefect.yaml`, and its flows by entrypoint."""

    entries: list[Entry]
    flows: dict[str, Flow[..., Any]]


def read_written(entries: list[Entry] | None = None) -> Written:
    """The fleet and its flows, imported; needs no server.

    Raises:
        BadInput: `prefect.yaml`, a parameter in it or a flow file is wrong.
    """
    entries = read_fleet() if entries is None else entries
    return Written(entries, load_flows(entries, checkout()))


def bootstrap(
    profile: Profile,
    written: Written | list[Entry] | None = None,
    *,
    say: Callable[[str], None] | None = None,
    then: Callable[[], object] | None = None,
) -> Bootstrapped:
    """Do all of it through one client; the Prefect environment must be applied before the import.

    Args:
        written: None: what is in `prefect.yaml`; of entries alone the flows are imported.
        then: called once, as soon as a worker may start: what it needs is there, and no run can be of a deployment
            that is out of date.

    Raises:
        BadInput: `prefect.yaml`, a parameter in it or a flow file is wrong; nothing was sent then.
        NotReady: the server does not answer, or a work pool of another type has our name.
    """
    tell = say or (lambda _text: None)
    _read_zones_of_package()
    written = written if isinstance(written, Written) else read_written(written)
    done = Bootstrapped()
    try:
        with get_client(sync_client=True) as client:
            done.limits.update(profile.slots)
            done.changed += right_limits(client, profile.slots)
            _pool(client, done)
            _blocks(client, done)
            is_empty = not client.read_deployments(limit=1)
            if then and is_empty:
                then()
            _deployments(client, done, profile=profile, written=written, tell=tell)
            now = datetime.now(UTC)
            done.changed += reconcile(client, profile.slots, leases=served_leases(client), pool=POOL, now=now)
            if then and not is_empty:
                then()
    except (httpx.HTTPError, PrefectHTTPStatusError) as error:
        raise _cut_off(error) from error
    return done


def _cut_off(error: Exception) -> NotReady:
    return NotReady(
        f"The Prefect server did not carry out the bootstrap: {type(error).__name__}: {error}.",
        means="What was done before stays; running it again goes on from there.",
        remedy='Check the server with `hotdesk doctor`, and `eval "$(hotdesk env)"` in this shell.',
    )


def _read_zones_of_package() -> None:
    """Time zones are those of the package that Prefect brings, not of the machine's folder, which are the same.

    Prefect lists them all for every schedule that it reads: 4.4 ms from the folder, 0.8 ms from the package.
    """
    if find_spec("tzdata"):
        zoneinfo.reset_tzpath(to=())


def _pool(client: SyncPrefectClient, done: Bootstrapped) -> None:
    done.queues += QUEUES
    done.changed += right_pool(client, now=datetime.now(UTC))


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


def _deployments(
    client: SyncPrefectClient,
    done: Bootstrapped,
    *,
    profile: Profile,
    written: Written,
    tell: Callable[[str], None],
) -> None:
    """Send what changed; a deployment that the server refuses is noted, and the others go on."""
    tell(f"deploying {len(written.entries)} flows")
    if said := less_often(written.entries, profile):
        tell(said)
    for deployed in deploy(
        client,
        written.entries,
        cadence=profile.cadence,
        uses=Uses(home()),
        flows=written.flows,
        on_refusal=done.refused.append,
    ):
        done.deployments.append(deployed.name)
        done.paused += [deployed.name] if deployed.paused else []
        done.changed += [f"deployment {deployed.name} {CREATED}"] if deployed.created else []
        done.changed += [f"{deployed.name} {said}" for said in deployed.said]


def block_types() -> list[type[Block]]:
    """What an operator edits in the UI."""
    from blocks.cloud_tier import CloudTier
    from blocks.policy import GovernorPolicy
    from blocks.router import ModelRouter

    return [ModelRouter, GovernorPolicy, CloudTier]
