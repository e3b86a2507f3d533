"""`python -m tests.benchmarks.eviction`: what it counts, on days small enough to count by hand."""

import json

import pytest

from governor.policy.eviction import Size
from tests.benchmarks.days import Day, Foretold, Seat, draw
from tests.benchmarks.eviction import SPREADS, Place, judge, play
from tests.benchmarks.fleet_day import BUDGETS_MIB, FLEET, MODELS, SIZES_MIB, fleet
from tests.benchmarks.replay import least, replay
from tests.benchmarks.report import Report
from tests.benchmarks.rules import LongestIdle, LongestIdleByCount, Ours, ShortestKeepAlive
from tests.benchmarks.schedules import LIES, MILD, SCHEDULES

SIZES = {model: Size(mib=100, load_seconds=2.0) for model in "abcd"}


def day(uses: str) -> Day:
    """One seat every hour, foretold to the minute."""
    seats = tuple(Seat(model, 3600.0 * hour, 3600.0 * hour + 60, ()) for hour, model in enumerate(uses))
    return Day(seats, tuple(Foretold(seat.begins_s, seat.model, seat.begins_s) for seat in seats))


@pytest.mark.parametrize(
    ("rule", "swaps"),
    [
        (LongestIdle(), 6),
        (LongestIdleByCount(), 6),
        (ShortestKeepAlive(), 4),
        (ShortestKeepAlive(keep_alive_seconds=60.0), 6),
        (Ours(always=True), 3),
    ],
)
def test_reloads_are_counted_after_each_models_first_load(rule, swaps):
    done = replay(day("abcabcabc"), 200, SIZES, rule)
    assert (done.swaps, done.stall_seconds) == (swaps, 2.0 * swaps)
    assert done.loads == swaps + 3


def test_the_optimum_is_that_of_a_day_counted_by_hand():
    assert least(day("abcabcabc"), 200, SIZES, lambda _: 1.0) == 3
    assert least(day("abab"), 200, SIZES, lambda _: 1.0) == 0
    assert least(day("abab"), 100, SIZES, lambda _: 1.0) == 2


def test_the_fleet_is_fifty_agents_and_every_model_fits_every_memory():
    assert len(FLEET) == len({agent.name for agent in FLEET}) == 50
    assert max(SIZES_MIB.values()) <= min(BUDGETS_MIB.values())
    for models in MODELS:
        for spread in SPREADS:
            used = {stage.role for agent in fleet(spread, models, 0) for stage in agent.stages}
            assert used == set(list(SIZES_MIB)[:models]) or spread == "by work"
            assert len(used) == models


def test_one_desk_serves_in_order_and_a_lie_changes_no_seat_but_its_own():
    truth = draw(fleet("by lot", 4, 1), 1, "holds", SCHEDULES["holds"])
    assert all(a.ends_s <= b.begins_s for a, b in zip(truth.seats, truth.seats[1:], strict=False))
    for name in ("hours off", "wrong models", "swapped models", "reversed", "contrary", "half contrary"):
        told = draw(fleet("by lot", 4, 1), 1, name, SCHEDULES[name])
        assert told.seats == truth.seats, name
        assert told.foretold != truth.foretold, name


def test_a_small_run_prints_every_target(capsys):
    places = [Place("by lot", 4, "for two", "warm"), Place("by work", 3, "for two", "cold")]
    held = play([("holds", place) for place in places], 1)
    lied = play([(name, places[0]) for name in (*MILD, *LIES)], 1)
    report = Report("eviction", {})
    judge(report, held, lied)
    report.emit()
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [target["name"] for target in printed["targets"]] == ["optimum", "swaps", "lies"]
    assert printed["ratio"]["ours_over_optimum"]["stall_seconds"] >= 1.0
    assert printed["ratio"]["ours_over_lru"]["stall_seconds"] < 1.0
