"""The committed fleet: every entry reads, its entrypoint exists, its parameters fit, its times are its own."""

import importlib
from collections import Counter

import pytest
from prefect.client.schemas.schedules import CronSchedule

from blocks.reading.places import locate
from deployments.fleet import Entry, read_fleet
from flows.digest import DigestParameters
from flows.extract import ExtractParameters
from flows.log_watch import LogWatchParameters
from flows.triage import TriageParameters

FLEET = read_fleet()
AGENTS = [entry for entry in FLEET if "agent" in entry.tags]
PARAMETERS = {
    "digest": DigestParameters,
    "triage": TriageParameters,
    "log_watch": LogWatchParameters,
    "extract": ExtractParameters,
}


def name_of(entry: Entry) -> str:
    return f"{entry.function}/{entry.name}"


def test_there_are_ten_agents_of_every_kind_and_two_of_the_house() -> None:
    assert len(AGENTS) == 10
    assert {entry.function for entry in AGENTS} == set(PARAMETERS)
    assert {name_of(entry) for entry in FLEET if entry not in AGENTS} == {"govern/govern", "evict/evict"}


@pytest.mark.parametrize("entry", FLEET, ids=name_of)
def test_an_entrypoint_is_a_flow(entry: Entry) -> None:
    module = importlib.import_module(entry.flow_file.removesuffix(".py").replace("/", "."))
    assert getattr(module, entry.function).name == entry.function.replace("_", "-")


@pytest.mark.parametrize("entry", FLEET, ids=name_of)
def test_schedules_parse_and_carry_a_slug(entry: Entry) -> None:
    assert entry.schedules
    for schedule in entry.schedules:
        assert schedule.slug
        assert schedule.cron
        CronSchedule(cron=schedule.cron, timezone=schedule.timezone)


@pytest.mark.parametrize("entry", AGENTS, ids=name_of)
def test_parameters_fit_and_their_files_exist(entry: Entry) -> None:
    parameters = PARAMETERS[entry.function](**entry.parameters["parameters"])
    assert locate(parameters.source).exists()
    assert locate(parameters.prompt_file).is_file()


def test_the_governor_has_a_queue_of_its_own() -> None:
    queues = {name_of(entry): entry.work_pool.work_queue_name for entry in FLEET}
    house = {name for name, queue in queues.items() if queue == "governor"}
    assert house == {"govern/govern", "evict/evict"}


def test_a_second_run_of_an_agent_never_piles_up() -> None:
    limits = {str(entry.concurrency_limit) for entry in FLEET}
    assert len(limits) == 1
    assert "CANCEL_NEW" in limits.pop()


def test_no_two_agents_start_in_the_same_minute_of_the_hour() -> None:
    minutes = Counter(s.cron.split()[0] for entry in AGENTS for s in entry.schedules if s.cron)
    assert max(minutes.values()) == 1
