"""Weak machines run agents less often: which times are kept, what is left as written, and the way back."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound

from deployments.cadence import less_often, thin, thin_cron, thin_entry
from deployments.deploying import deploy
from deployments.fleet import Entry, Schedule, read_fleet
from governor.machine import Machine
from governor.profile import detect
from tests.unit.deploy_stage import as_kept

FLEET = {f"{entry.function}/{entry.name}": entry for entry in read_fleet()}
SUPPORT = FLEET["triage/support"]  # every hour
MIDNIGHT = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "every", "thinned"),
    [
        ("7 7-19/2 * * *", 2, "7 7-19/4 * * *"),
        ("19 * * * *", 2, "19 */2 * * *"),
        ("19 * * * *", 4, "19 */4 * * *"),
        ("34 */3 * * *", 2, "34 */6 * * *"),
        ("47 */6 * * *", 4, "47 0 * * *"),
        ("*/3 * * * *", 2, "*/6 * * * *"),
        ("2-59/5 * * * *", 2, "2-52/10 * * * *"),
        ("5/15 * * * *", 2, "5,35 * * * *"),
        ("0,30 * * * *", 4, "0 */2 * * *"),  # the minutes do not suffice
        ("0,30 * * * *", 3, "0 * * * *"),  # rather more often
        ("0 8,12,20 * * *", 2, "0 8,20 * * *"),
        ("0 8,20 * * 1-5", 2, "0 8 * * 1-5"),
        ("0 9-17 * * MON-FRI", 3, "0 9-15/3 * * MON-FRI"),
        # Once a day or less, or of another shape: as written.
        ("13 8 * * 1-5", 2, "13 8 * * 1-5"),
        ("0 0 1 * *", 2, "0 0 1 * *"),
        ("@hourly", 2, "@hourly"),
        ("H * * * *", 2, "H * * * *"),
        ("*/3 * * * * *", 2, "*/3 * * * * *"),
        ("61 * * * *", 2, "61 * * * *"),
        ("*/0 * * * *", 2, "*/0 * * * *"),
        ("30-10 * * * *", 2, "30-10 * * * *"),
        # At a cadence of 1 nothing is even written otherwise.
        ("2-59/5 * * * *", 1, "2-59/5 * * * *"),
    ],
)
def test_every_so_manieth_time_of_the_day_is_kept(cron: str, every: int, thinned: str):
    assert thin_cron(cron, every) == thinned


FIELD = st.sampled_from(["*", "*/2", "*/5", "3", "0,17", "2-20/3", "1,4,9,11", "5/7", "0-23"])


@settings(max_examples=40, deadline=None)
@given(minutes=FIELD, hours=FIELD, every=st.integers(1, 24))
def test_what_is_kept_are_times_that_are_written_at_least_one_a_day_and_never_too_few(
    minutes: str, hours: str, every: int
):
    written, kept = (times(cron) for cron in (f"{minutes} {hours} * * *", thin_cron(f"{minutes} {hours} * * *", every)))
    assert kept <= written
    assert len(kept) >= max(1, len(written) // every)


def times(cron: str) -> set[tuple[int, int]]:
    """Hours and minutes at which it fires, by Prefect's own reader of crons."""
    from prefect._vendor.croniter import croniter

    ticks = croniter(cron, MIDNIGHT - timedelta(seconds=1))
    found: set[tuple[int, int]] = set()
    while (at := ticks.get_next(datetime)) < MIDNIGHT + timedelta(days=1):
        found.add((at.hour, at.minute))
    return found


def test_intervals_grow_up_to_a_day_and_what_cannot_be_thinned_stays():
    assert thin(Schedule(interval=3600), 2).interval == 7200
    assert thin(Schedule(interval=50_000), 3).interval == 86_400
    for written in (Schedule(interval=86_400), Schedule(interval=200_000), Schedule(rrule="FREQ=HOURLY")):
        assert thin(written, 4) == written


def test_the_house_and_what_runs_once_a_day_are_left_alone():
    same = {name for name, entry in FLEET.items() if thin_entry(entry, 2) is entry}
    assert {"govern/govern", "evict/evict", "digest/news", "extract/invoices"} <= same
    assert "triage/support" not in same


def test_it_is_said_and_how_to_keep_what_is_written():
    profile = detect(Machine(vram_mib=0, memory_mib=8192, cores=4))
    said = less_often(list(FLEET.values()), profile)
    assert said == (
        "profile cpu-only: 12 agents that run several times a day run at every second of their times;"
        " HOTDESK_CADENCE=1 keeps them as written"
    )
    on_battery = detect(Machine(vram_mib=0, memory_mib=8192, cores=4, on_mains=False))
    assert "cpu-only: 1 agent that runs several times a day runs at every second of its times" in less_often(
        [SUPPORT], on_battery
    )
    assert less_often(list(FLEET.values()), detect(Machine(vram_mib=8192, memory_mib=8192, cores=4))) == ""


class FakeServer:
    """A FAKE of the client: it keeps the one deployment that it was sent last."""

    def __init__(self) -> None:
        self.kept: SimpleNamespace | None = None

    def read_deployment_by_name(self, name: str) -> SimpleNamespace:
        if self.kept is None:
            raise ObjectNotFound(Exception(name))
        return self.kept

    def create_flow_from_name(self, name: str) -> Any:
        return uuid4()

    def create_deployment(self, **sent: Any) -> Any:
        self.kept = as_kept(sent)
        return uuid4()

    @property
    def schedules(self) -> list[Any]:
        return self.kept.schedules if self.kept else []

    def switch_off(self, cron: str) -> None:
        for schedule in self.schedules:
            schedule.active = schedule.active and schedule.schedule.cron != cron

    def deploy_all(self, entry: Entry, cadence: int) -> dict[str, bool]:
        """Each cron of several, and whether it is on."""
        deploy(cast(SyncPrefectClient, self), [entry], cadence=cadence)
        found = {schedule.schedule.cron: schedule.active for schedule in self.schedules}
        assert len(found) == len(self.schedules)
        return found

    def deploy(self, entry: Entry, cadence: int) -> tuple[str, bool, str]:
        """Cron, whether it is on, and the description."""
        deploy(cast(SyncPrefectClient, self), [entry], cadence=cadence)
        assert self.kept is not None
        (schedule,) = self.kept.schedules
        return cast(CronSchedule, schedule.schedule).cron, schedule.active, self.kept.description


def test_a_deployment_says_that_it_runs_less_often_and_the_way_back_is_to_deploy_it_again():
    server, text = FakeServer(), SUPPORT.description or ""
    written = ("19 * * * *", True, text)
    assert server.deploy(SUPPORT, 1) == written
    less_often = ("19 */2 * * *", True, f"{text} On this machine it runs at every second of its times.")
    assert server.deploy(SUPPORT, 2) == less_often
    assert server.deploy(SUPPORT, 1) == written
    assert server.deploy(FLEET["govern/govern"], 4)[0] == "*/3 * * * *"


def test_a_schedule_that_was_switched_off_stays_off_at_every_cadence():
    server = FakeServer()
    server.deploy(SUPPORT, 2)
    assert server.kept is not None
    server.kept.schedules[0].active = False
    assert [server.deploy(SUPPORT, cadence)[:2] for cadence in (2, 4, 1, 2)] == [
        ("19 */2 * * *", False),
        ("19 */4 * * *", False),
        ("19 * * * *", False),
        ("19 */2 * * *", False),
    ]


def test_another_schedule_than_the_one_that_was_switched_off_is_on():
    server = FakeServer()
    server.deploy(SUPPORT, 2)
    assert server.kept is not None
    server.kept.schedules[0].active = False
    other = SUPPORT.model_copy(update={"schedules": (Schedule(cron="20 * * * *", timezone="UTC", slug="hourly"),)})
    assert server.deploy(other, 2)[:2] == ("20 */2 * * *", True)


def test_an_off_schedule_does_not_take_another_with_it_that_would_be_thinned_to_it():
    """At a cadence of 2 the second is what the first is as written."""
    server, entry = FakeServer(), written("0 */2 * * *", "0 * * * *")
    assert server.deploy_all(entry, 1) == {"0 */2 * * *": True, "0 * * * *": True}
    server.switch_off("0 */2 * * *")
    assert server.deploy_all(entry, 1) == {"0 */2 * * *": False, "0 * * * *": True}
    for _ in range(2):
        assert server.deploy_all(entry, 2) == {"0 */4 * * *": False, "0 */2 * * *": True}
    assert server.deploy_all(entry, 1) == {"0 */2 * * *": False, "0 * * * *": True}


def test_what_was_switched_off_at_a_cadence_is_the_one_that_ran_then():
    server, entry = FakeServer(), written("0 */2 * * *", "0 * * * *")
    server.deploy_all(entry, 2)
    server.switch_off("0 */2 * * *")
    assert server.deploy_all(entry, 4) == {"0 */8 * * *": True, "0 */4 * * *": False}
    assert server.deploy_all(entry, 1) == {"0 */2 * * *": True, "0 * * * *": False}


def test_schedules_that_come_to_the_same_times_run_once_and_are_two_again_later():
    server, entry = FakeServer(), written("0 8,12 * * *", "0 8,20 * * *")
    assert server.deploy_all(entry, 2) == {"0 8 * * *": True}
    assert server.deploy_all(entry, 1) == {"0 8,12 * * *": True, "0 8,20 * * *": True}
    server.switch_off("0 8,12 * * *")
    for _ in range(2):
        assert server.deploy_all(entry, 2) == {"0 8 * * *": True, "0 8,12 * * *": False}
    assert server.deploy_all(entry, 1) == {"0 8,12 * * *": False, "0 8,20 * * *": True}
    server.deploy_all(entry, 2)
    server.switch_off("0 8 * * *")
    assert not any(server.deploy_all(entry, 1).values())


def test_schedules_of_other_parameters_both_run():
    entry = written("0 8,12 * * *", "0 8,20 * * *")
    other = entry.schedules[1].model_copy(update={"parameters": {"items": 1}})
    server = FakeServer()
    both = entry.model_copy(update={"schedules": (entry.schedules[0], other)})
    deploy(cast(SyncPrefectClient, server), [both], cadence=2)
    assert len(server.schedules) == 2


def test_intervals_that_begin_at_other_times_both_run():
    half_past = [Schedule(interval=3600, anchor_date=f"2026-11-25T00:{minute}:00+00:00") for minute in ("00", "30")]
    server = FakeServer()
    deploy(cast(SyncPrefectClient, server), [SUPPORT.model_copy(update={"schedules": tuple(half_past)})], cadence=2)
    assert len(server.schedules) == 2


def written(*crons: str) -> Entry:
    return SUPPORT.model_copy(update={"schedules": tuple(Schedule(cron=cron, timezone="UTC") for cron in crons)})
