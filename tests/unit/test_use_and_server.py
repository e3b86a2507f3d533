"""`hotdesk use` and what the server makes of it: refused, silent, or without that agent; and one at a time."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select

from deployments import uses
from deployments.agents import agents_of
from deployments.deploying import deploy
from deployments.fleet import read_fleet
from deployments.uses import ZONE_KEY, Uses, all_uses
from governor.answers import Answer
from governor.errors import BadInput, NotReady
from governor.policy.facts import Kind
from governor.policy.requests import ModelRequest
from governor.remembered import remember
from governor.settings import Home
from governor.state.agents import AgentUse, Remembered
from governor.state.sessions import reading, recall, transaction
from tests.unit.deploy_stage import NAME, FakeServer, Use, answer_of, command, own

FLEET = agents_of(read_fleet())


@pytest.fixture
def server(hotdesk_home: Home) -> FakeServer:
    """One that knows one agent."""
    server = FakeServer(hotdesk_home)
    deploy(server.fake.as_client, [FLEET[NAME]], uses=Uses(hotdesk_home))
    return server


@pytest.fixture
def use(server: FakeServer, tmp_path: Path) -> Use:
    return command(server, tmp_path)


@pytest.mark.parametrize("before", [{"source": "mails", "values": ("max_items=5",)}, None])
def test_what_the_server_refuses_is_not_kept(use: Use, server: FakeServer, before: dict[str, Any] | None):
    if before is None:
        with transaction() as session:
            session.execute(delete(AgentUse))
    else:
        use(**before)
    was = own()
    server.fake.errors[NAME] = answer_of(422)
    for wishes in ({"values": ("max_items=7",)}, {"source": "mails", "due": "07:00"}, {"reset": True}):
        with pytest.raises(BadInput, match="refuses the deployment") as caught:
            use(**wishes)
        assert caught.value.means == "Nothing was changed."
        assert (own(), NAME in all_uses()) == (was, before is not None)


@pytest.mark.parametrize("error", [httpx.ConnectError("gone"), answer_of(503), answer_of(401)])
def test_a_server_that_fails_is_told_later(use: Use, server: FakeServer, error: Exception):
    server.fake.errors[NAME] = error
    assert "next `hotdesk up`" in use(source="mails")
    assert own()["source"].endswith("/mails")


def test_an_agent_that_the_server_does_not_know_is_not_made_there(use: Use, server: FakeServer):
    server.fake.kept.clear()
    assert "No server was told" in use(source="mails")
    assert server.fake.kept == {}


def test_a_wish_waits_for_its_turn(use: Use, server: FakeServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uses, "TURN_SECONDS", 0.05)
    server.is_up = False  # so that no deploy takes a turn of its own
    for wishes in (
        {"agent": NAME, "source": "mails"},
        {"agent": NAME, "reset": True},
        {"agent": None, "timezone": "UTC"},
    ):
        with Uses(server.where).turn(), pytest.raises(NotReady, match="has been deploying"):
            use(**wishes)


def test_what_models_answered_one_agent_is_forgotten_when_it_is_asked_for(use: Use):
    asked = ModelRequest(kind=Kind.CLASSIFY, prompt="x", choices=("a", "b"))
    said = Answer("a", None, True, [], tier="t", model="m", demo=False, reason="r")
    for agent in (NAME, "digest/news"):
        remember(agent, [asked], [said], now=datetime.now(UTC))
    assert use("support", ask_again=True).startswith(f"1 answers to {NAME} were forgotten")
    assert use("support", ask_again=True).startswith("0 answers")
    with reading() as session:
        assert session.scalars(select(Remembered.agent)).all() == ["digest/news"]


def test_a_zone_that_the_server_refuses_is_put_back_and_who_was_not_told_is_named(use: Use, server: FakeServer):
    said = use(None, timezone="Europe/Berlin")
    assert "1 agents were told" in said
    assert f"and {len(FLEET) - 6} more" in said  # this server does not know them
    server.fake.errors[NAME] = answer_of(422)
    with pytest.raises(BadInput, match="refuses") as caught:
        use(None, timezone="Asia/Tokyo")
    assert "The zone is as it was" in caught.value.means
    assert recall(ZONE_KEY) == "Europe/Berlin"
    server.fake.errors[NAME] = httpx.ReadTimeout("silent")
    assert "No server was told" in use(None, timezone="Europe/Paris")
