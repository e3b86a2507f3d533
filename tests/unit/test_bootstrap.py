"""A deployment that the server refuses: all others are sent, `hotdesk up` goes on, `hotdesk bootstrap` ends with it.

And when, on the way, a worker may start.
"""

import io
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from deployments import bootstrap as module
from deployments import ground, up
from deployments.agents import agents_of
from deployments.fleet import read_fleet
from deployments.screen import Screen
from governor.errors import BadInput
from governor.settings import Home
from tests.unit.deploy_stage import FakeClient, answer_of

FLEET = agents_of(read_fleet())
REFUSED, OTHER = "triage/support", "digest/news"


@pytest.fixture
def client(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """A FAKE that refuses one agent; limits, pool and blocks are as they should be."""
    client = FakeClient()
    client.errors[REFUSED] = answer_of(422)
    monkeypatch.setattr(module, "get_client", lambda **_: nullcontext(client))
    monkeypatch.setattr(module, "read_fleet", lambda: [FLEET[REFUSED], FLEET[OTHER]])
    for name in ("right_limits", "reconcile", "served_leases"):
        monkeypatch.setattr(module, name, lambda *_, **__: [])
    for name in ("_pool", "_blocks"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr("deployments.samples.prepare_samples", lambda _: None)
    return client


def test_all_others_are_sent_and_it_is_said_at_the_end(
    client: FakeClient, hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    show = Screen(Console(file=said, width=1000))
    profile: Any = SimpleNamespace(slots={}, cadence=1, name="x")
    [refused] = ground.set_up(profile, show, ground.read_written(hotdesk_home))
    assert list(client.kept) == [OTHER]
    assert refused.happened in said.getvalue().splitlines()[-1]

    monkeypatch.setattr(ground, "find_profile", lambda _: profile)
    monkeypatch.setattr(up, "screen", lambda: show)
    monkeypatch.setattr(up, "apply_client_environment", lambda *_: None)
    with pytest.raises(BadInput, match=f"refuses the deployment `{REFUSED}`"):
        up.run_bootstrap(None)
    client.errors.clear()
    up.run_bootstrap(None)
    assert list(client.kept) == [OTHER, REFUSED]


def test_a_worker_may_start_at_once_on_an_empty_server_and_else_when_nothing_there_is_out_of_date(
    client: FakeClient, hotdesk_home: Home
) -> None:
    profile: Any = SimpleNamespace(slots={}, cadence=1, name="x")
    client.errors.clear()
    seen: list[list[str]] = []
    for _ in range(2):
        module.bootstrap(profile, then=lambda: seen.append([*client.kept]))
        client.kept.pop(OTHER)
    assert seen == [[], [REFUSED, OTHER]]


def test_nothing_is_sent_and_no_worker_may_start_where_a_flow_cannot_be_imported(client: FakeClient) -> None:
    profile: Any = SimpleNamespace(slots={}, cadence=1, name="x")
    broken = FLEET[OTHER].model_copy(update={"entrypoint": "flows/no_such_file.py:digest"})
    seen: list[str] = []
    with pytest.raises(BadInput, match="cannot be imported"):
        module.bootstrap(profile, [broken], then=lambda: seen.append("started"))
    assert (seen, client.kept) == ([], {})
