"""Each kind of agent, end to end: a real server and worker, the real embedded model, and its outputs checked by rule.

What each kind promises is said in `tests/integration/kinds`, and is recomputed there from what the agent read. The
runs are those of `first_round`, one agent of every kind.
"""

import importlib
import json
from pathlib import Path

import pytest

from flows.prompt_agent import PromptAgentParameters, prompt_agent
from governor.settings import Home
from tests.conftest import at_home
from tests.integration.conftest import ONE_OF_EACH, ROUND_SECONDS, FirstRound
from tests.integration.kinds import prompt_agent as prompt_kind

KINDS = Path(__file__).parent / "kinds"
FLOWS = Path(__file__).parents[2] / "flows"
HOUSE = {"govern", "evict"}


def outputs(first_round: FirstRound, agent: str) -> tuple[Path, str]:
    """Folder of the agent's outputs, and their day."""
    folder = first_round.home / "out" / agent.replace("/", "-")
    [told] = folder.glob("*.provenance.json")
    return folder, told.name.split(".")[0]


def test_every_kind_has_a_flow_an_agent_in_the_round_and_its_rules():
    kinds = {path.stem for path in FLOWS.glob("[!_]*.py")} - HOUSE
    assert {agent.split("/")[0].replace("-", "_") for agent in ONE_OF_EACH} | {"prompt_agent"} == kinds
    assert {path.stem for path in KINDS.glob("[!_]*.py")} >= kinds


@pytest.mark.timeout(ROUND_SECONDS + 60)
@pytest.mark.parametrize("agent", ONE_OF_EACH)
def test_what_an_agent_wrote_keeps_the_rules_of_its_kind(first_round: FirstRound, agent: str):
    code, said = first_round.ends()
    assert code == 0, said
    folder, day = outputs(first_round, agent)
    kind = importlib.import_module(f"tests.integration.kinds.{agent.split('/')[0].replace('-', '_')}")
    with at_home(Home(first_round.home)):
        kind.check(folder, day)


def test_an_agent_that_is_only_a_prompt_runs_through_the_real_desk(fleet_server: Home):
    told = {
        "source": "flows/samples/issues.json",
        "max_items": 2,
        "max_tokens": 24,
        "kind": "classify",
        "question": "Ticket: $title. $text",
        "answers": {"bug": "an error or a crash", "other": "anything else"},
    }
    state = prompt_agent(PromptAgentParameters.model_validate(told), return_state=True)
    assert state.is_completed(), state.message
    folder = fleet_server.out / "prompt-agent-by-hand"
    [page] = folder.glob("*.md")
    prompt_kind.check(folder, page.stem)


@pytest.mark.timeout(ROUND_SECONDS + 60)
@pytest.mark.parametrize("agent", ONE_OF_EACH)
def test_an_output_says_where_it_came_from(first_round: FirstRound, agent: str):
    first_round.ends()
    folder, day = outputs(first_round, agent)
    told = json.loads((folder / f"{day}.provenance.json").read_text())
    assert (told["agent"], told["capped"]) == (agent, True)
    assert len(told["run"]) == 36
    assert all(len(digest) == 64 for digest in [*told["inputs"].values(), *told["files"].values()])
    assert told["inputs"]
    assert set(told["files"]) == {
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "provenance" not in path.name
    }
