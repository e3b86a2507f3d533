"""The agents of the fleet by the names that people and the server use: FLOW/DEPLOYMENT. Needs no server.

Reads the files only; imports no flow.
"""

from collections.abc import Iterable
from pathlib import Path

from deployments.entrypoints import flows_in
from deployments.fleet import Entry, checkout, did_you_mean
from governor.errors import BadInput

AGENT_TAG, SAMPLE_TAG = "agent", "sample"


def name_of(entry: Entry, root: Path | None = None) -> str:
    """FLOW/DEPLOYMENT, as the server has it."""
    flow = flows_in((root or checkout()) / entry.flow_file)[entry.function]
    return f"{flow.name}/{entry.name}"


def agents_of(entries: Iterable[Entry], root: Path | None = None) -> dict[str, Entry]:
    """Every agent by its name; what belongs to the house is none."""
    return {name_of(entry, root): entry for entry in entries if AGENT_TAG in entry.tags}


def find_agent(named: str, agents: dict[str, Entry]) -> str:
    """The full name of the agent that is meant; its deployment's name is enough where no other has it.

    Raises:
        BadInput: there is none, or there are several.
    """
    if named in agents:
        return named
    found = [name for name, entry in agents.items() if entry.name == named]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(
            f"{len(found)} agents are called {named!r}.",
            means="Nothing was changed.",
            remedy=f"Say {' or '.join(found)}.",
        )
    known = agents if "/" in named else {entry.name: entry for entry in agents.values()}
    raise BadInput(
        f"There is no agent {named!r}.",
        means="Nothing was changed.",
        remedy=f"{did_you_mean(named, known)} `hotdesk use --list` shows all.",
    )
