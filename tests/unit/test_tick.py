"""One look of the governor on real rows, with no engine: the rung, the record, and who is evicted."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from governor import tick as governor_tick
from governor.policy.facts import Rung
from governor.policy.pressure import Mark
from governor.processes import identify
from governor.settings import Home
from governor.state.residents import Resident
from governor.state.sessions import reading, recall, remember, transaction
from governor.tick import Rules, current_rung, last_tick, tick

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
# Real readings of any machine: more than 0% is available, and never more than 101%.
PRESSED = Rules(marks=(Mark(reading="host_available_percent", high=101, low=102, rising_is_bad=False),))
CALM = Rules(marks=(Mark(reading="host_available_percent", high=-2, low=-1, rising_is_bad=False),))
BLIND = Rules(marks=(Mark(reading="no_such_sensor", high=2, low=1),))


def resident(model: str, idle_seconds: float) -> int:
    row = Resident(
        engine="embedded",
        model=model,
        context_tokens=2048,
        line="cpu",
        state="resident",
        address="http://127.0.0.1:1",
        memory_mib=250.0,
        loaded_at=NOW - timedelta(hours=5),
        last_used_at=NOW - timedelta(seconds=idle_seconds),
    )
    row.identity = identify()
    with transaction() as session:
        session.add(row)
    return row.id


def test_two_looks_to_climb_and_one_to_come_back(hotdesk_home: Home):
    assert [tick(NOW, rules=rules).rung for rules in (PRESSED, PRESSED, PRESSED, CALM)] == [
        "normal",
        "trim",
        "trim",
        "normal",
    ]


def test_a_look_is_recorded_with_its_readings_and_its_reason(hotdesk_home: Home):
    for _ in range(2):
        tick(NOW, rules=PRESSED)
    row = last_tick()
    assert row is not None
    assert (row.at, row.rung, row.pressure) == (NOW, "trim", "high")
    assert row.actions == ["moved from normal to trim"]
    assert row.reason == "pressure on host_available_percent"
    assert isinstance(row.readings["host_available_mib"], float)
    assert row.readings["models_percent"] == 0


def test_a_dry_run_stays_where_it_is_and_says_what_it_would_do(hotdesk_home: Home):
    dry = Rules(marks=PRESSED.marks, dry_run=True)
    rows = [tick(NOW, rules=dry) for _ in range(3)]
    assert [row.rung for row in rows] == ["normal"] * 3
    assert rows[1].actions == rows[2].actions == ["would move from normal to trim"]
    assert current_rung() is Rung.NORMAL


@pytest.mark.parametrize(("dry_run", "state"), [(True, "unloading"), (False, "gone")])
def test_what_was_left_half_unloaded_is_finished_but_not_in_a_dry_run(hotdesk_home: Home, dry_run: bool, state: str):
    row = Resident(engine="embedded", model="a", context_tokens=2048, line="cpu", state="unloading")
    with transaction() as session:
        session.add(row)
    tick(NOW, rules=Rules(marks=CALM.marks, dry_run=dry_run))
    with reading() as session:
        assert session.get_one(Resident, row.id).state == state


def test_a_sensor_that_is_not_there_moves_nothing(hotdesk_home: Home):
    remember("rung", "trim")
    assert [tick(NOW, rules=BLIND).rung for _ in range(3)] == ["trim"] * 3


def test_pressure_that_cannot_be_read_any_more_is_not_over(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    for _ in range(2):
        tick(NOW, rules=PRESSED)
    seen = json.loads(recall("assessment"))
    seen["streaks"] = {"no_such_sensor": 2}
    remember("assessment", json.dumps(seen))
    both = Rules(marks=(*CALM.marks, *BLIND.marks))
    assert tick(NOW, rules=both).rung == "trim"


@pytest.mark.parametrize("left", ["nonsense", '{"levels": {"x": "purple"}}', '{"other": 1}'])
def test_what_another_release_left_behind_counts_as_nothing(hotdesk_home: Home, left: str):
    remember("rung", "a rung of tomorrow")
    remember("assessment", left)
    assert tick(NOW, rules=PRESSED).rung == "normal"


def test_models_that_hold_more_than_they_may_are_pressure(hotdesk_home: Home):
    for name in ("a", "b", "c"):
        resident(name, 1)
    remember("memory_budget_mib", "500")
    assert {r.name: r.value for r in governor_tick.readings(NOW)}["models_percent"] == 150
