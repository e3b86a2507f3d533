"""What is kept of an answer, so that its speed can be told later: real rows, and a model that only plays a scene."""

from typing import Any

import pytest
from sqlalchemy import select

from governor import asking
from governor.asking import Ask
from governor.desk import Seat
from governor.engines.protocol import Loaded
from governor.line import Errand
from governor.policy.facts import Candidate, ModelRequest, ModelSpec, Route
from governor.settings import Home
from governor.state.models import Decision
from governor.state.sessions import reading
from tests.fakes.card import fake_card
from tests.fakes.openai_wire import FakeOpenAI, says

SPEC = ModelSpec(
    engine="fake", model="a", source="a", line="gpu", context_tokens=4096, parameters_billion=1, expected_mib=100
)


class FakeTurn:
    """FAKE: a seat that is never lost."""

    def is_current(self) -> bool:
        return True


def test_an_answer_is_kept_with_the_time_of_its_first_token(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    turn: Any = FakeTurn()
    grant: Any = None
    seat = Seat(turn, grant, 1.5, SPEC, SPEC, Loaded("http://127.0.0.1:1", None, None, None))
    ask = Ask(ModelRequest.model_validate({"kind": "write", "prompt": "Hello."}))
    candidate = Candidate(tier="heavy", spec=SPEC, reason="it fits")
    with FakeOpenAI(says("One ", "two ", "three.")) as server, fake_card(monkeypatch, lambda _spec: 100.0) as engine:
        engine.litellm_parameters = lambda spec, loaded: server.parameters
        answer = asking._ask_once(ask, seat, candidate, temperature=0.0)
    asking._record(ask, answer, seat, Errand("gpu", "x/y", "a", 10.0), Route(candidates=(candidate,)))
    with reading() as session:
        kept = session.scalars(select(Decision)).one()
    assert (kept.tokens_out, kept.work_seconds) == (3, answer.seconds)
    assert 0 < kept.first_token_seconds == answer.first_token_seconds <= kept.work_seconds
