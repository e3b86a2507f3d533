"""Fewer times on a weak machine, on a real server: said there, an operator's switch kept, and all of it undone."""

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from deployments.deploying import deploy
from deployments.fleet import Entry, read_fleet
from governor.profile import current_profile
from governor.settings import Home

NAME = "triage/support"
SAID = "On this machine it runs at every second of its times."


def deployed(client: SyncPrefectClient, entry: Entry, cadence: int) -> tuple[str, bool, bool]:
    """Its cron, whether that is on, and whether the description says that it runs less often."""
    deploy(client, [entry], cadence=cadence)
    return seen(client.read_deployment_by_name(NAME))


def seen(found: DeploymentResponse) -> tuple[str, bool, bool]:
    (schedule,) = found.schedules
    assert isinstance(schedule.schedule, CronSchedule)
    return schedule.schedule.cron, schedule.active, SAID in (found.description or "")


def test_a_cadence_comes_and_goes_and_what_an_operator_switched_off_stays_off(fleet_server: Home) -> None:
    entry = next(entry for entry in read_fleet() if f"{entry.function}/{entry.name}" == NAME)
    with get_client(sync_client=True) as client:
        try:
            assert deployed(client, entry, 2) == ("19 */2 * * *", True, True)
            assert deployed(client, entry, 1) == ("19 * * * *", True, False)
            before = client.read_deployment_by_name(NAME)
            client.update_deployment_schedule(before.id, before.schedules[0].id, active=False)
            assert deployed(client, entry, 2) == ("19 */2 * * *", False, True)
            assert deployed(client, entry, 1) == ("19 * * * *", False, False)
        finally:
            before = client.read_deployment_by_name(NAME)
            client.update_deployment_schedule(before.id, before.schedules[0].id, active=True)
            deploy(client, [entry], cadence=current_profile().cadence)
