"""From samples to own data on a real server: by the command, by the form in the UI, through deploys, and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule

from deployments.agents import SAMPLE_TAG, agents_of
from deployments.deploying import Deployed, deploy
from deployments.fleet import read_fleet
from deployments.sending import Server
from deployments.use import Wishes, run_use
from deployments.use_list import rows
from deployments.uses import Uses, all_uses
from governor.profile import current_profile
from governor.settings import Home

NAME = "digest/tech"
ENTRY = agents_of(read_fleet())[NAME]


@pytest.fixture
def client(fleet_server: Home) -> Iterator[SyncPrefectClient]:
    """Leaves the agent as it found it."""
    with get_client(sync_client=True) as client:
        yield client
        list(run_use(NAME, Wishes(reset=True)))
        client.resume_deployment(client.read_deployment_by_name(NAME).id)


def there(client: SyncPrefectClient) -> tuple[str, bool, bool]:
    """Its source, whether it is tagged as a sample, and whether it is paused."""
    found = client.read_deployment_by_name(NAME)
    return found.parameters["parameters"]["source"], SAMPLE_TAG in found.tags, found.paused


def deploys(client: SyncPrefectClient, where: Home) -> Deployed:
    """As every bootstrap does."""
    [done] = deploy(client, [ENTRY], cadence=current_profile().cadence, uses=Uses(where))
    return done


def test_an_agent_moves_to_own_data_stays_there_and_comes_back(
    client: SyncPrefectClient, fleet_server: Home, tmp_path: Path
) -> None:
    (tmp_path / "mine.xml").write_text("<rss/>")
    (tmp_path / "other.xml").write_text("<rss/>")
    mine, other = str(tmp_path / "mine.xml"), str(tmp_path / "other.xml")
    samples = ENTRY.parameters["parameters"]["source"]
    client.pause_deployment(client.read_deployment_by_name(NAME).id)
    deploys(client, fleet_server)
    assert there(client) == (samples, True, True)

    said = list(run_use("tech", Wishes(source="mine.xml", timezone="Europe/Berlin"), cwd=tmp_path))
    assert any("It runs at its times" in line for line in said), said
    assert there(client) == (mine, False, False)
    assert {
        schedule.schedule.timezone
        for schedule in client.read_deployment_by_name(NAME).schedules
        if isinstance(schedule.schedule, CronSchedule)
    } == {"Europe/Berlin"}
    assert deploys(client, fleet_server).said == ()
    assert there(client) == (mine, False, False)

    found = client.read_deployment_by_name(NAME)
    form = {**found.parameters["parameters"], "source": other, "max_items": 3}
    client.update_deployment(found.id, DeploymentUpdate(parameters={"parameters": form}))
    assert len(deploys(client, fleet_server).said) == 2
    assert there(client) == (other, False, False)
    assert all_uses()[NAME].parameters["max_items"] == 3
    [row] = rows({NAME: ENTRY}, all_uses(), Server(fleet_server), zone="")
    assert (row.source, row.samples, row.paused, row.timezone) == (other, False, False, "Europe/Berlin")

    assert any("It is paused" in line for line in run_use(NAME, Wishes(reset=True)))
    assert there(client) == (samples, True, True)
