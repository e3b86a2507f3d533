"""Tell the server in use about single agents, where it answers; the whole fleet is `deployments.bootstrap`'s."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

import httpx

from deployments.environment import SERVER, apply_client_environment, configured_url
from deployments.fleet import Entry, checkout
from deployments.server import answers
from deployments.services import running
from deployments.uses import Seen, Uses
from governor.errors import BadInput, HotdeskError
from governor.settings import Home

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from deployments.deploying import Deployed

# More than the fleet has.
MOST_AGENTS = 200


class Server:
    """The server that one state folder uses."""

    def __init__(self, where: Home) -> None:
        self.where = where

    @property
    def answers(self) -> bool:
        """Whether one can be told; Prefect's environment is applied then, before anything imports Prefect."""
        ours = running(self.where, SERVER)
        url = configured_url(self.where) or (ours.address if ours else None)
        if url is None or not answers(url):
            return False
        with suppress(HotdeskError):
            apply_client_environment(self.where)
        return True

    def client(self) -> "AbstractContextManager[SyncPrefectClient]":
        """An open client."""
        from prefect.client.orchestration import get_client

        return get_client(sync_client=True)

    def send(self, agents: Mapping[str, Entry]) -> "list[Deployed]":
        """Deploy those that the server knows; what was told, nothing where it does not answer or not any more.

        Raises:
            BadInput: it refuses a value; those after it were told all the same.
        """
        if not self.answers:
            return []
        from deployments.deploying import deploy, deployment_of
        from deployments.flow_parameters import load_flows
        from governor.profile import current_profile

        done: list[Deployed] = []
        refused: list[BadInput] = []
        with suppress(httpx.HTTPError), self.client() as client:
            there = [entry for name, entry in agents.items() if deployment_of(client, name)]
            flows, cadence, uses = load_flows(there, checkout()), current_profile().cadence, Uses(self.where)
            for entry in there:  # one by one, to know who was told when it falls silent
                done += deploy(client, [entry], cadence=cadence, uses=uses, flows=flows, on_refusal=refused.append)
        if refused:
            raise refused[0]
        return done

    def look(self, names: Sequence[str]) -> dict[str, Seen]:
        """What the server has of these agents; empty where it does not answer."""
        if not self.answers:
            return {}
        from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

        from deployments.agents import AGENT_TAG
        from deployments.deploying import seen

        wanted = DeploymentFilter(tags=DeploymentFilterTags(all_=[AGENT_TAG]))
        found: dict[str, Seen] = {}
        try:
            with self.client() as client:
                flows = {flow.id: flow.name for flow in client.read_flows(limit=MOST_AGENTS)}
                for one in client.read_deployments(deployment_filter=wanted, limit=MOST_AGENTS):
                    if (what := seen(one)) is not None:
                        found[f"{flows.get(one.flow_id)}/{one.name}"] = what
        except httpx.HTTPError:
            return {}
        return {name: found[name] for name in names if name in found}
