"""Which agents a round is for, and in which order: those that read what the others wrote come last.

Only `agents` asks the server, and imports Prefect; everything else is a function of names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from deployments.agents import AGENT_TAG, SAMPLE_TAG
from deployments.fleet import did_you_mean
from governor.errors import BadInput

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

# Agents whose answers are labels, choices or a schema: the demo model is at its best there, so a newcomer sees them.
CONSTRAINED = ("triage", "extract", "check", "index", "log-watch")
# These read what all others wrote.
READERS = ("brief",)
# The most rows that Prefect's API gives at once.
PAGE = 200


@dataclass(frozen=True)
class Agent:
    """One deployment of the fleet that is an agent."""

    name: str
    deployment_id: UUID
    sample: bool

    @property
    def kind(self) -> str:
        """The flow that it runs."""
        return kind_of(self.name)


def kind_of(agent: str) -> str:
    """The kind in `kind/name`."""
    return agent.partition("/")[0].replace("_", "-")


def agents(client: "SyncPrefectClient", pool: str) -> list[Agent]:
    """Every agent deployed to `pool`, in the order of a round."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterId

    found = [one for one in _deployments(client) if one.work_pool_name == pool]
    flow_ids = sorted({one.flow_id for one in found}, key=str)
    flows = client.read_flows(flow_filter=FlowFilter(id=FlowFilterId(any_=flow_ids)), limit=PAGE) if found else []
    names = {flow.id: flow.name for flow in flows}
    return in_order(Agent(f"{names[one.flow_id]}/{one.name}", one.id, SAMPLE_TAG in one.tags) for one in found)


def _deployments(client: "SyncPrefectClient") -> "list[DeploymentResponse]":
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    wanted = DeploymentFilter(tags=DeploymentFilterTags(all_=[AGENT_TAG]))
    found: list[DeploymentResponse] = []
    while True:
        page = client.read_deployments(deployment_filter=wanted, limit=PAGE, offset=len(found))
        found += page
        if len(page) < PAGE:
            return found


def in_order(found: Iterable[Agent]) -> list[Agent]:
    """Constrained agents first, readers last, then by name."""
    return sorted(found, key=lambda one: (one.kind in READERS, one.kind not in CONSTRAINED, one.name))


def waves(fleet: Sequence[Agent]) -> list[list[Agent]]:
    """Who may run at the same time: readers only once the others ended."""
    parts = ([one for one in fleet if (one.kind in READERS) is reads] for reads in (False, True))
    return [part for part in parts if part]


def chosen(fleet: Sequence[Agent], wanted: Sequence[str]) -> list[Agent]:
    """The agents that somebody asked for, also `a,b`; all for none.

    Args:
        wanted: kinds (`triage`) and names (`triage/inbox`, or `inbox` where no other agent has it).

    Raises:
        BadInput: there is no such kind or agent.
    """
    words = [word.strip() for said in wanted for word in said.split(",") if word.strip()]
    if not words and not wanted:
        return list(fleet)
    meant = {name for word in words or [""] for name in _meant(word, fleet)}
    return [one for one in fleet if one.name in meant]


def _meant(word: str, fleet: Sequence[Agent]) -> list[str]:
    kind, slash, name = word.partition("/")
    kind = kind_of(kind)
    found = [one.name for one in fleet if one.kind == kind and (not slash or one.name.partition("/")[2] == name)]
    same_name = [one.name for one in fleet if one.name.partition("/")[2] == word]
    if found or len(same_name) == 1:
        return found or same_name
    known = [*dict.fromkeys(one.kind for one in fleet), *(one.name for one in fleet)]
    raise BadInput(
        f"There is no agent and no kind of agent called `{word}`.",
        means="No agent was run.",
        remedy=f"Say {' or '.join(same_name)}." if same_name else did_you_mean(word, known),
    )
