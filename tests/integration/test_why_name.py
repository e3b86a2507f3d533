"""`hotdesk why` by the name that Prefect gave a run: the one thing that only the server knows."""

from datetime import UTC, datetime

import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from deployments.why import run_why
from governor.errors import BadInput
from governor.settings import Home
from governor.state.models import AgentRun
from governor.state.sessions import transaction


@flow(name="named")
def named() -> None:
    """A flow to make a run of."""


@pytest.mark.usefixtures("fleet_server")
def test_a_run_is_found_by_the_name_that_the_server_gave_it(running_server: Home):
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(named, name="brave-fox-of-the-test")
    with transaction() as session:
        session.add(AgentRun(flow_run_id=str(run.id), agent="digest/named", started_at=datetime.now(UTC)))
    said = run_why("brave-fox-of-the-test", as_json=False, every=False)
    assert said.startswith(f"digest/named, run {str(run.id)[:8]}")
    with pytest.raises(BadInput, match="No run is meant by 'no-such-name'"):
        run_why("no-such-name", as_json=False, every=False)


def test_a_server_that_does_not_answer_is_no_reason_to_wait(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HOTDESK_PORT", raising=False)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with transaction():
        pass
    with pytest.raises(BadInput, match="No run is meant"):
        run_why("brave-fox", as_json=False, every=False)
