"""A stage for one agent: its flow on a real frame, state folder and database, with a FAKE of the router's models."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.flows import Flow

from blocks import run as frame
from blocks.parameters import AgentParameters
from blocks.writing.outputs import folder_of
from governor.answers import Asked, answer_by, judged
from governor.policy.requests import Candidate, ModelRequest

# What a model says to a request; None: the call gave no answer.
Say = Callable[[ModelRequest], str | None]
BY_HAND = "agent/by-hand"
PAGE = re.compile(r"\d{4}-\d\d-\d\d(\.could-not)?\.md")


@dataclass
class FakeModels:
    """A FAKE of every model behind the router: it says what it is told to, and real rules judge that."""

    say: Say
    asked: list[ModelRequest] = field(default_factory=list)

    def ask_all(self, requests: Sequence[ModelRequest], **_: Any) -> Asked:
        self.asked += requests
        return Asked([self._answer(request) for request in requests])

    def largest_billion(self, request: ModelRequest) -> float:
        return 0.0

    def _answer(self, request: ModelRequest) -> Any:
        said, candidate = self.say(request), Candidate(tier="fake", reason="a fake")
        if said is None:
            return answer_by(candidate, text="", data=None, problems=["no answer"], failed=True)
        text, data, problems = judged(request, said, cut=False)
        return answer_by(candidate, text=text, data=data, problems=problems)


@dataclass(frozen=True)
class Ran:
    """What a run came to. `asked`: the requests that came to the models, none for what was remembered."""

    state: State
    folder: Path
    asked: list[ModelRequest]

    @property
    def files(self) -> dict[str, str]:
        return {p.name: p.read_text(errors="replace") for p in sorted(self.folder.iterdir()) if p.is_file()}

    @property
    def page(self) -> str:
        """The page of the day; where there is none, the one that says why."""
        pages = {name: text for name, text in self.files.items() if PAGE.fullmatch(name)}
        [page] = [text for name, text in pages.items() if "could-not" not in name] or pages.values()
        return page


def run_flow(flow: Flow[..., Any], parameters: AgentParameters, say: Say) -> Ran:
    """Run the flow's function once, by hand, without a server. Wants the fixture `hotdesk_home`."""
    models = FakeModels(say)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "current_router", lambda: models)
        state = flow.fn(parameters)
    return Ran(state, folder_of(BY_HAND), models.asked)
