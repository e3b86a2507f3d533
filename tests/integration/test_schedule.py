"""What the real server has scheduled becomes what residency looks ahead to."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.states import Scheduled
from sqlalchemy import select

from flows.evict import look_ahead
from governor.schedule import scheduled_runs
from governor.settings import Home
from governor.state.models import Decision, Setting
from governor.state.residents import ExpectedUse
from governor.state.sessions import reading, recall, transaction


def test_a_scheduled_run_is_foretold_with_the_models_of_the_agents_last_run(fleet_server: Home):
    now = datetime.now(UTC)
    at = now + timedelta(hours=2, minutes=3)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("digest/news")
        made = [client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=at))]
        far = Scheduled(scheduled_time=now + timedelta(hours=30))
        made.append(client.create_flow_run_from_deployment(deployment.id, state=far))
        try:
            runs = scheduled_runs(client, now=now)
            mine = [when for agent, when in runs if agent == "digest/news"]
            assert any(abs(when - at) < timedelta(seconds=1) for when in mine)
            assert all(when <= now + timedelta(hours=24) for when in mine)
            assert not any("govern" in agent or "evict" in agent for agent, _ in runs)
            assert runs == sorted(runs, key=lambda run: run[1])
            for model in ("writer-7b", "sorter-1b"):
                decided("digest/news", model)
            look_ahead(now)
        finally:
            for run in made:
                client.delete_flow_run(run.id)
    with reading() as session:
        foretold = session.scalars(select(ExpectedUse).where(ExpectedUse.agent == "digest/news")).all()
    near = {use.model for use in foretold if abs(use.at - at) < timedelta(seconds=1)}
    assert near == {"writer-7b", "sorter-1b"}


def decided(agent: str, model: str) -> None:
    """What the agent's last run left behind."""
    with transaction() as session:
        session.add(
            Decision(
                at=datetime.now(UTC),
                flow_run_id="last",
                agent=agent,
                kind="write",
                tier="heavy",
                engine="embedded",
                model=model,
                reason="",
                verdict="verified",
            )
        )


def test_the_flow_looks_ahead_and_evicts_on_the_real_server(fleet_server: Home):
    with transaction() as session:
        kept = session.get(Setting, "looked_ahead_at")
        if kept is not None:
            session.delete(kept)
    run = subprocess.run(
        [sys.executable, "-c", "from flows.evict import evict; print(evict())"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stdout.strip().splitlines()[-1].startswith("["), run.stderr
    assert recall("looked_ahead_at")
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["evictions"])))
    assert found
