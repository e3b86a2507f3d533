"""A deployment that is on the server as it would be sent is left alone; whatever was edited there is sent again."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.deploying import deploy
from deployments.fleet import Entry, Schedule, read_fleet
from deployments.uses import Uses
from governor.settings import Home
from tests.unit.deploy_stage import FakeClient

FLEET = {f"{entry.function}/{entry.name}": entry for entry in read_fleet()}
SUPPORT, NEWS = FLEET["triage/support"], FLEET["digest/news"]
NAME = "triage/support"


@pytest.fixture
def client() -> FakeClient:
    """A FAKE that has both agents as they are written."""
    client = FakeClient()
    deploy(client.as_client, [SUPPORT, NEWS])
    client.sent.clear()
    return client


def test_nothing_is_sent_where_all_is_as_written(client: FakeClient, hotdesk_home: Home) -> None:
    ids = [one.id for one in deploy(client.as_client, [SUPPORT, NEWS])]
    assert ids == [client.kept[NAME].id, client.kept["digest/news"].id]
    deploy(client.as_client, [SUPPORT, NEWS], uses=Uses(hotdesk_home))
    deploy(client.as_client, [SUPPORT])
    assert client.sent == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "0"),
        ("description", "edited"),
        ("tags", ["agent"]),
        ("parameters", {}),
        ("work_pool_name", None),
        ("work_queue_name", "governor"),
        ("job_variables", {"env": {"A": "1"}}),
        ("enforce_parameter_schema", False),
        ("parameter_openapi_schema", {}),
        ("entrypoint", "flows/other.py:other"),
        ("pull_steps", None),
        ("concurrency_options", None),
        ("global_concurrency_limit", None),
        ("global_concurrency_limit", SimpleNamespace(limit=5, active=True)),
        ("global_concurrency_limit", SimpleNamespace(limit=1, active=False)),
        ("schedules", []),
    ],
)
def test_what_was_edited_on_the_server_is_sent_again_and_the_others_are_not(
    client: FakeClient, key: str, value: Any
) -> None:
    setattr(client.kept[NAME], key, value)
    entry = SUPPORT.model_copy(
        update={"work_pool": SUPPORT.work_pool.model_copy(update={"work_queue_name": "default"})}
    )
    for _ in range(2):
        deploy(client.as_client, [entry, NEWS])
    assert client.sent == [NAME]


@pytest.mark.parametrize(
    "change",
    [
        {"schedules": ()},
        {"schedules": (SUPPORT.schedules[0].model_copy(update={"cron": "20 * * * *"}),)},
        {"schedules": (SUPPORT.schedules[0].model_copy(update={"active": False}),)},
        {"schedules": (SUPPORT.schedules[0].model_copy(update={"parameters": {"items": 1}}),)},
        {"tags": ("agent", "new")},
        {"parameters": {}},
        {"concurrency_limit": 3},
        {"version": "2"},
    ],
)
def test_what_is_written_otherwise_is_sent(client: FakeClient, change: dict[str, Any]) -> None:
    deploy(client.as_client, [SUPPORT.model_copy(update=change), NEWS])
    assert client.sent == [NAME]


@pytest.mark.parametrize(("written", "edited"), [(1, True), (1, 1.0), (0, False), ("1", 1), ([1], [True])])
def test_a_value_of_another_type_is_an_edit_also_where_python_calls_both_equal(
    client: FakeClient, written: Any, edited: Any
) -> None:
    entry = SUPPORT.model_copy(update={"parameters": {"n": written, "m": 1}})
    deploy(client.as_client, [entry, NEWS])
    client.kept[NAME].parameters = {"m": 1, "n": written}
    client.sent.clear()
    deploy(client.as_client, [entry, NEWS])
    assert client.sent == []
    client.kept[NAME].parameters = {"n": edited, "m": 1}
    deploy(client.as_client, [entry, NEWS])
    assert client.sent == [NAME]


def test_a_schedule_switched_off_and_a_pause_are_an_operators_and_nothing_to_send(client: FakeClient) -> None:
    client.kept[NAME].schedules[0].active = False
    client.kept[NAME].paused = True
    [deployed, _] = deploy(client.as_client, [SUPPORT, NEWS])
    assert deployed.paused
    assert client.sent == []


def test_another_cadence_is_sent_once() -> None:
    client = FakeClient()
    for cadence in (1, 2, 2):
        deploy(client.as_client, [SUPPORT, NEWS], cadence=cadence)
    assert client.sent == [NAME, "digest/news", NAME]


def test_an_interval_that_nobody_anchored_keeps_the_moment_of_its_first_saving() -> None:
    client, entry = FakeClient(), every(Schedule(interval=3600))
    deploy(client.as_client, [entry])
    anchored = client.kept[NAME].schedules[0].schedule
    client.kept[NAME].schedules[0].schedule = anchored.model_copy(
        update={"anchor_date": datetime(2026, 1, 1, tzinfo=UTC)}
    )
    deploy(client.as_client, [entry])
    assert client.sent == [NAME]
    deploy(client.as_client, [every(Schedule(interval=3600, anchor_date="2026-01-01T00:30:00+00:00"))])
    assert client.sent == [NAME, NAME]


def every(schedule: Schedule) -> Entry:
    return SUPPORT.model_copy(update={"schedules": (schedule,)})
