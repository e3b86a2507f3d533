"""Agents at one model of a trace: how long they sit when it is slow, and when its speed can be known."""

from datetime import datetime, timedelta

import pytest

from governor.state.models import Decision
from governor.state.sessions import transaction
from tests.benchmarks.simulated_seats import STEP_SECONDS, Recorded, Seats, sound_call_seconds, speed_percent
from tests.unit.resident_stage import NOW, bring, look, stage

__all__ = ["stage"]  # a fixture


def worked(speed: float, seats: list[tuple[float, float]], seconds: float, tokens_per_s: float = 30.0):
    """Seats after so many seconds at this speed, and in which of them somebody sat."""
    agents, sat = Seats(seats, sound_call_seconds(tokens_per_s)), []
    for step in range(1, round(seconds / STEP_SECONDS)):
        at_s = round(step * STEP_SECONDS, 1)
        if agents.wanted(at_s) and agents.work(at_s, speed, may_begin=True):
            sat.append(at_s)
    return agents, sat


def test_at_full_speed_a_seat_lasts_as_long_as_the_trace_says():
    agents, sat = worked(100, [(0, 50), (60, 110)], 200)
    assert [call.speed_percent for call in agents.recorded] == [pytest.approx(100, abs=2)] * 10
    assert [at_s for at_s in sat if 50 < at_s < 60 or at_s > 110.1] == []


def test_a_slow_seat_lasts_until_its_calls_are_through_and_who_comes_meanwhile_waits():
    agents, sat = worked(6, [(0, 20), (60, 80)], 700)
    assert [call.speed_percent for call in agents.recorded] == [pytest.approx(6, 0.01)] * 4
    assert [round(call.at_s) for call in agents.recorded] == [159, 318, 477, 636]
    assert len(sat) == pytest.approx(6360, abs=30) and sat[-1] < 640


def test_a_call_past_its_deadline_is_made_once_more_and_then_given_up():
    agents, _ = worked(6, [(0, 30)], 800, tokens_per_s=20)
    assert [call.speed_percent for call in agents.recorded] == [None, None]
    assert [round(call.at_s) for call in agents.recorded] == [336, 672]


def test_who_loses_its_model_goes_on_with_what_fits_into_its_time():
    agents, _ = worked(100, [(0, 50)], 20)
    agents.lost()
    assert agents.wanted(35) and agents.work(35, 100, may_begin=True)
    assert agents.seated is not None and agents.seated.calls == 1
    agents.lost()
    assert not agents.wanted(50)


@pytest.mark.parametrize(
    ("calls", "loaded_s", "percent"),
    [
        ([100.0, 100.0, 6.0, 6.0], 0, 6.0),
        ([100.0, 6.0, 6.0], 0, None),  # the first of the three is more than ten minutes old
        ([6.0, 6.0], 0, None),
        ([100.0, 6.0, 6.0, 6.0], 400, None),
        ([100.0, 100.0, 100.0, None], 0, None),
        ([100.0, 100.0, None, None], 0, 0.0),
        ([100.0, None, None], 600, None),
        ([None, None, 100.0, 90.0, 80.0], 0, 90.0),
        ([], 0, None),
    ],
)
def test_speed_is_told_as_the_sensor_tells_it(stage, calls, loaded_s, percent):
    """Both: the simulated sensor, and the one in production on the same calls, a hundred seconds apart."""
    recorded = [Recorded(200.0 + 100 * number, speed) for number, speed in enumerate(calls)]
    assert speed_percent(recorded, loaded_s, 900.0) == percent
    bring(stage, "a", loaded_at=NOW - timedelta(seconds=900 - loaded_s))
    with transaction() as session:
        session.add_all([decision(NOW - timedelta(days=1), 100.0) for _ in range(8)])
        session.add_all([decision(NOW - timedelta(seconds=900 - call.at_s), call.speed_percent) for call in recorded])
    assert look()["speed_percent"].value == (None if percent is None else pytest.approx(percent))


def decision(at: datetime, speed: float | None) -> Decision:
    """An answer of 100 tokens at so many a second, or a call that was given up."""
    seconds = {"tokens_out": 0, "work_seconds": 168.0}
    if speed is not None:
        seconds = {"tokens_out": 100, "first_token_seconds": 1.0, "work_seconds": 1 + 100 / speed}
    whose = {
        "agent": "x",
        "kind": "write",
        "tier": "heavy",
        "engine": "fake",
        "model": "a",
        "reason": "",
        "verdict": "",
    }
    return Decision(at=at, **whose, **seconds)
