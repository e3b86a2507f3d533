"""Who is evicted although nobody needs the room: real rows, a fake memory, no engine."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prefect.exceptions import ObjectNotFound
from sqlalchemy import select

from flows.evict import look_ahead
from governor import memory
from governor.errors import ModelFailed, NotReady
from governor.evicting import evict_idle
from governor.policy.facts import Rung
from governor.policy.ladder import Standing
from governor.policy.rules import Rules
from governor.policy.watermarks import Hours, Marks
from governor.processes import identify
from governor.settings import Home
from governor.standing import keep
from governor.state.residents import ExpectedUse, Keeping, Resident
from governor.state.sessions import reading, transaction
from governor.unloading import unload_idle
from tests.fakes.card import fake_card

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
KEEP = Rules(keep_alive_seconds=300)


class FakeMemory:
    """A FAKE memory of 1,000 MiB that is as full as the test says."""

    place, cards = "ram", 1

    def __init__(self) -> None:
        self.used = 300.0

    def free_mib(self) -> float | None:
        return 1000.0 - self.used

    def total_mib(self) -> float | None:
        return 1000.0

    def held_mib(self, pids: Sequence[int]) -> float | None:
        return None


class FakeUnload:
    """Remembers who was to leave; `broken` raises, `kept` answers that it is in use again; each gives 100 MiB back."""

    def __init__(self, where: FakeMemory, broken: int = 0, kept: int = 0) -> None:
        self.asked: list[int] = []
        self.unless_used_since: list[datetime | None] = []
        self.where, self.broken, self.kept = where, broken, kept

    def __call__(self, resident_id: int, *, reason: str, unless_used_since: datetime | None = None) -> bool:
        self.asked.append(resident_id)
        self.unless_used_since.append(unless_used_since)
        if resident_id == self.broken:
            raise ModelFailed("It does not answer.", remedy="See its log.")
        self.where.used -= 0 if resident_id == self.kept else 100
        return resident_id != self.kept


@pytest.fixture
def ram(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> FakeMemory:
    where = FakeMemory()
    monkeypatch.setitem(memory.MEMORIES, "ram", lambda: where)
    return where


def resident(model: str, idle_seconds: float, age: timedelta = timedelta(hours=5), *, engine: str = "embedded") -> int:
    row = Resident(
        engine=engine,
        model=model,
        context_tokens=2048,
        line="cpu",
        state="resident",
        address="http://127.0.0.1:1",
        memory_mib=100.0,
        load_seconds=1.0,
        loaded_at=NOW - age,
        last_used_at=NOW - timedelta(seconds=idle_seconds),
    )
    row.identity = identify()
    with transaction() as session:
        session.add(row)
    return row.id


def expect(model: str, after: timedelta) -> None:
    with transaction() as session:
        session.add(ExpectedUse(at=NOW + after, agent="digest/news", model=model))


def test_the_idle_leave_and_the_recently_used_stay(ram: FakeMemory):
    old, unload = resident("old", 400), FakeUnload(ram)
    resident("fresh", 100)
    done = evict_idle(NOW, rules=KEEP, unload=unload)
    assert unload.asked == [old]
    assert done == ["evicted old at 2048 tokens (100 MiB): idle for 400 s, the keep-alive is 300 s"]


def test_on_the_rung_trim_they_leave_sooner(ram: FakeMemory):
    resident("fresh", 100)
    with transaction() as session:
        keep(session, Standing(rung=Rung.TRIM, reached={"ram": Rung.TRIM}))
    unload = FakeUnload(ram)
    evict_idle(NOW, rules=KEEP, unload=unload)
    assert len(unload.asked) == 1


def test_a_model_of_its_own_keep_alive_leaves_by_that(ram: FakeMemory):
    short, _ = resident("short", 100), resident("long", 900)
    with transaction() as session:
        session.add_all([Keeping(model="short", keep_alive_seconds=60), Keeping(model="long", keep_alive_seconds=3600)])
    unload = FakeUnload(ram)
    evict_idle(NOW, rules=KEEP, unload=unload)
    assert unload.asked == [short]


def test_one_whose_next_use_is_due_in_a_moment_stays(ram: FakeMemory):
    resident("soon", 400)
    later = resident("later", 400)
    expect("soon", timedelta(seconds=5))
    expect("later", timedelta(minutes=5))
    unload = FakeUnload(ram)
    evict_idle(NOW, rules=KEEP, unload=unload)
    assert unload.asked == [later]


def test_one_that_does_not_leave_keeps_none_of_the_others(ram: FakeMemory):
    ids = [resident(name, idle) for name, idle in (("a", 900), ("b", 800), ("c", 700))]
    done = evict_idle(NOW, rules=KEEP, unload=FakeUnload(ram, broken=ids[0], kept=ids[1]))
    assert [line.split(" ")[0] for line in done] == ["could", "kept", "evicted"]
    assert "It does not answer." in done[0]


def test_a_memory_too_full_is_emptied_down_to_the_low_mark_and_the_last_needed_leaves_first(ram: FakeMemory):
    ids = {name: resident(name, idle) for name, idle in (("soon", 200), ("unknown", 20), ("later", 100), ("last", 50))}
    for name, minutes in (("soon", 2), ("later", 30), ("last", 90)):
        expect(name, timedelta(minutes=minutes))
    ram.used = 960
    unload = FakeUnload(ram)
    done = evict_idle(NOW, rules=KEEP, unload=unload)
    assert unload.asked == [ids["unknown"], ids["last"]]
    assert done[0].endswith("96% of the memory is in use, the mark is 90%")
    assert done[1].endswith("86% of the memory is in use, the mark is 80%")


def test_between_the_marks_nobody_leaves(ram: FakeMemory):
    resident("a", 100)
    ram.used = 890
    assert evict_idle(NOW, rules=KEEP, unload=FakeUnload(ram)) == []


def test_at_night_they_leave_sooner_by_the_clock_of_the_zone(ram: FakeMemory):
    resident("a", -36_000)  # used last at 22:00
    ram.used = 800
    berlin = Rules(keep_alive_seconds=300, hours=Hours(zone="Europe/Berlin"))
    assert evict_idle(NOW.replace(hour=21, minute=59), rules=berlin, unload=FakeUnload(ram)) == []
    night = NOW.replace(hour=22, minute=1)
    assert "the mark is 75%" in evict_idle(night, rules=berlin, unload=FakeUnload(ram))[0]


def test_what_stays_full_of_other_peoples_memory_empties_us_and_then_ends(ram: FakeMemory):
    ids = [resident("a", 30), resident("b", 20)]
    ram.used = 990
    unload = FakeUnload(ram, kept=ids[0])
    assert len(evict_idle(NOW, rules=KEEP, unload=unload)) == 2
    assert unload.asked == ids, "what gave nothing back names the next one"


def test_a_model_that_just_came_in_stays_though_the_memory_is_full(ram: FakeMemory):
    resident("new", 5, age=timedelta(seconds=5))
    ram.used = 990
    assert evict_idle(NOW, rules=KEEP, unload=FakeUnload(ram)) == []


def test_a_dry_run_evicts_nobody_and_says_how_far_it_would_go(ram: FakeMemory):
    resident("old", 400)
    for name in ("a", "b", "c"):
        resident(name, 100)
    unload = FakeUnload(ram)
    rules = Rules(keep_alive_seconds=300, hours=Hours(day=Marks(high_percent=90, low_percent=80)), dry_run=True)
    for used, leaving in ((950, ["old"]), (1050, ["old", "a", "b"])):
        ram.used = used
        done = evict_idle(NOW, rules=rules, unload=unload)
        assert [line.removeprefix("would evict ").split(" at ")[0] for line in done] == leaving
    assert unload.asked == []


@pytest.mark.parametrize(("dry_run", "state"), [(True, "unloading"), (False, "gone")])
def test_what_was_left_half_unloaded_is_finished_but_not_in_a_dry_run(ram: FakeMemory, dry_run: bool, state: str):
    row = Resident(engine="embedded", model="a", context_tokens=2048, line="cpu", state="unloading")
    with transaction() as session:
        session.add(row)
    evict_idle(NOW, rules=Rules(keep_alive_seconds=300, dry_run=dry_run), unload=FakeUnload(ram))
    with reading() as session:
        assert session.get_one(Resident, row.id).state == state


def test_each_leaves_only_if_its_last_use_is_still_the_one_that_was_seen(ram: FakeMemory):
    resident("overstayed", 400)
    resident("past the mark", 100)
    ram.used = 1020
    unload = FakeUnload(ram)
    evict_idle(NOW, rules=KEEP, unload=unload)
    seen = [NOW - timedelta(seconds=400), NOW - timedelta(seconds=100)]
    assert unload.unless_used_since == [at + timedelta(seconds=1) for at in seen]


def test_one_that_is_used_while_another_leaves_stays(ram: FakeMemory, monkeypatch: pytest.MonkeyPatch):
    def unload(resident_id: int, *, reason: str, unless_used_since: datetime | None = None) -> bool:
        gone = unload_idle(resident_id, reason=reason, unless_used_since=unless_used_since)
        with transaction() as session:  # and meanwhile somebody used the second one, and let go of it
            session.get_one(Resident, second).last_used_at = NOW + timedelta(seconds=3)
        return gone

    with fake_card(monkeypatch, lambda _spec: 100.0) as engine:
        resident("first", 500, engine="fake")
        second = resident("second", 400, engine="fake")
        done = evict_idle(NOW, rules=KEEP, unload=unload)
    assert [line.split(" ")[:2] for line in done] == [["evicted", "first"], ["kept", "second"]]
    assert engine.calls == [("unload", "first")]


SILENT = [
    httpx.ConnectError("connection refused"),
    ObjectNotFound(http_exc=ValueError("404")),
    RuntimeError("Found incompatible versions"),
    ValueError("an answer of another release"),
    NotReady("The state database cannot be opened.", remedy="Check it."),
]


@pytest.mark.parametrize("error", SILENT, ids=lambda error: type(error).__name__)
def test_a_server_that_cannot_be_asked_stops_no_eviction(hotdesk_home: Home, error: Exception):
    def ask(_now: datetime) -> list[tuple[str, datetime]]:
        raise error

    expect("a", timedelta(minutes=5))
    look_ahead(NOW, ask=ask)
    with reading() as session:
        assert session.scalars(select(ExpectedUse.model)).all() == ["a"]


def test_a_mistake_of_our_own_is_not_passed_over(hotdesk_home: Home):
    def ask(_now: datetime) -> list[tuple[str, datetime]]:
        raise TypeError

    with pytest.raises(TypeError):
        look_ahead(NOW, ask=ask)


def test_a_locked_database_stops_no_eviction(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("governor.state.sessions.LOCK_WAIT_SECONDS", 0.05)
    expect("a", timedelta(minutes=5))
    with closing(sqlite3.connect(hotdesk_home.database, isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        look_ahead(NOW, ask=lambda _now: [])
    with reading() as session:
        assert session.scalars(select(ExpectedUse.model)).all() == ["a"]
