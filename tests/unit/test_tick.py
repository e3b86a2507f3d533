"""One look of the governor on real rows, with no engine: the rung, the record, and who is evicted."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from governor.policy.facts import Rung
from governor.policy.ladder import Cooldown, Standing
from governor.policy.pressure import Mark
from governor.policy.rules import Rules
from governor.processes import identify
from governor.settings import Home
from governor.standing import current_rung, keep
from governor.state.residents import Resident
from governor.state.sessions import reading, recall, remember, transaction
from governor.tick import last_tick, tick

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
# Real readings of any machine: more than 0% is available, and never more than 101%.
AT_ONCE = Cooldown(up_seconds=0, down_seconds=0)


def rules(reading: str, high: float, low: float) -> Rules:
    mark = Mark(reading=reading, high=high, low=low, rising_is_bad=False, memory="ram", most=Rung.TRIM)
    return Rules(marks=(mark,), cooldown=AT_ONCE)


PRESSED, CALM = rules("host_available_percent", 101, 102), rules("host_available_percent", -2, -1)
BLIND = rules("no_such_sensor", 1, 2)


def stand(rung: Rung) -> None:
    with transaction() as session:
        keep(session, Standing(rung=rung, reached={"ram": rung}))


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
    assert [tick(NOW, rules=given).rung for given in (PRESSED, PRESSED, PRESSED, CALM)] == [
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
    assert row.actions == ["moved from normal to trim for ram"]
    assert row.reason == "pressure on host_available_percent"
    assert isinstance(row.readings["host_available_mib"], float)
    assert row.readings["models_percent"] == 0


def test_a_dry_run_stays_where_it_is_and_says_what_it_would_do(hotdesk_home: Home):
    dry = PRESSED.model_copy(update={"dry_run": True})
    rows = [tick(NOW, rules=dry) for _ in range(3)]
    assert [row.rung for row in rows] == ["normal"] * 3
    assert rows[1].actions == rows[2].actions == ["would move from normal to trim for ram"]
    assert current_rung() is Rung.NORMAL


@pytest.mark.parametrize(("dry_run", "state"), [(True, "unloading"), (False, "gone")])
def test_what_was_left_half_unloaded_is_finished_but_not_in_a_dry_run(hotdesk_home: Home, dry_run: bool, state: str):
    row = Resident(engine="embedded", model="a", context_tokens=2048, line="cpu", state="unloading")
    with transaction() as session:
        session.add(row)
    tick(NOW, rules=CALM.model_copy(update={"dry_run": dry_run}))
    with reading() as session:
        assert session.get_one(Resident, row.id).state == state


def test_a_sensor_that_is_not_there_moves_nothing(hotdesk_home: Home):
    stand(Rung.TRIM)
    assert [tick(NOW, rules=BLIND).rung for _ in range(3)] == ["trim"] * 3


def test_pressure_that_cannot_be_read_any_more_is_not_over(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch):
    for _ in range(2):
        tick(NOW, rules=PRESSED)
    seen = json.loads(recall("assessment"))
    seen["resources"]["no_such_sensor"] = seen["resources"]["host_available_percent"] | {"level": "unknown"}
    remember("assessment", json.dumps(seen))
    both = CALM.model_copy(update={"marks": (*CALM.marks, *BLIND.marks)})
    assert tick(NOW, rules=both).rung == "trim"


@pytest.mark.parametrize("left", ["nonsense", '{"levels": {"x": "high"}, "streaks": {"x": 2}}', '{"other": 1}'])
def test_what_another_release_left_behind_counts_as_nothing(hotdesk_home: Home, left: str):
    remember("standing", '{"rung": "a rung of tomorrow"}')
    remember("assessment", left)
    assert tick(NOW, rules=PRESSED).rung == "normal"


def test_models_that_hold_more_than_they_may_are_pressure(hotdesk_home: Home):
    for name in ("a", "b", "c"):
        resident(name, 1)
    remember("memory_budget_mib", "500")
    row = tick(NOW, rules=CALM)
    assert row.readings["models_percent"] == 150
