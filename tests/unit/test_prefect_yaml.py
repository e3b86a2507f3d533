"""The committed fleet: every entry reads, its entrypoint exists, its parameters fit, its times are its own."""

import importlib
from collections import Counter

import pytest
from prefect.client.schemas.schedules import CronSchedule

from deployments.fleet import Entry, read_fleet

FLEET = read_fleet()
AGENTS = [entry for entry in FLEET if "agent" in entry.tags]
# As the fleet was planned: kinds and how many agents of each.
KINDS = {
    "digest": 5,
    "triage": 5,
    "extract": 4,
    "draft": 6,
    "git_digest": 3,
    "code_review": 3,
    "log_watch": 4,
    "check": 7,
    "compare": 2,
    "transform": 4,
    "index": 3,
    "brief": 4,
}


def name_of(entry: Entry) -> str:
    return f"{entry.function}/{entry.name}"


def test_there_are_fifty_agents_of_twelve_kinds_and_two_of_the_house() -> None:
    assert len(AGENTS) == 50
    assert Counter(entry.function for entry in AGENTS) == KINDS
    assert {name_of(entry) for entry in FLEET if entry not in AGENTS} == {"govern/govern", "evict/evict"}


@pytest.mark.parametrize("entry", AGENTS, ids=name_of)
def test_an_agent_says_what_it_does_and_of_which_kind_it_is(entry: Entry) -> None:
    assert entry.description and entry.description.rstrip()[-1] in ".?"
    assert set(entry.tags) - {"sample"} == {"agent", entry.function.replace("_", "-")}
    # What reads the outputs of the fleet is on no sample, and is not paused with those that are.
    on_samples = "samples/" in entry.parameters["parameters"]["source"]
    assert ("sample" in entry.tags) is on_samples


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
