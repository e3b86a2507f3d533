"""How fast models write against their own history: what counts, and when it is too little to tell (invariant 24)."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete

from governor import serving
from governor.sensors import resident_speed
from governor.state.models import Decision
from governor.state.residents import Resident
from governor.state.sessions import transaction
from tests.fakes.card import FakeEngine
from tests.unit.resident_stage import LOADED_AT, NOW, bring, look, stage

__all__ = ["stage"]  # a fixture
EARLIER, RECENT = LOADED_AT - timedelta(days=1), NOW - timedelta(minutes=5)
GIVEN_UP = {"tokens_out": 0, "first_token_seconds": 0.0, "work_seconds": 148.0}


def wrote(speeds: list[float], *, since: datetime, **fields: object) -> None:
    """Answers of 20 tokens at these speeds, a second apart, the oldest first; the first token took 2 s."""
    with transaction() as session:
        for number, speed in enumerate(speeds):
            row = {"agent": "x", "kind": "write", "tier": "heavy", "engine": "fake", "model": "a", "reason": ""}
            row |= {"tokens_out": 20, "first_token_seconds": 2.0, "work_seconds": 2.0 + 20 / speed, "verdict": "no"}
            session.add(Decision(**{**row, "at": since + timedelta(seconds=number), **fields}))


@pytest.mark.parametrize(
    ("earlier", "recent", "percent"),
    [
        ([100.0] * 8, [50.0, 50.0, 50.0], 50.0),
        ([100.0] * 8, [6.0, 6.0, 6.0], 6.0),
        ([100.0] * 8, [100.0, 6.0, 100.0], 100.0),  # one answer that met a busy machine
        ([100.0] * 8, [100.0] * 9 + [6.0] * 3, 6.0),  # a suspend in the middle of a load
        ([6.0] * 3 + [100.0] * 8, [100.0] * 3, 100.0),
        ([10.0] * 60 + [100.0] * 50, [100.0] * 3, 100.0),  # the 50 before, and no older ones
        ([100.0] * 7, [50.0] * 3, None),
        ([100.0] * 20, [50.0] * 2, None),  # the third is a day old
        ([100.0] * 20, [], None),
        ([], [], None),
    ],
)
def test_speed_is_that_of_the_last_answers_of_this_load_against_those_before(
    stage: FakeEngine, earlier: list[float], recent: list[float], percent: float | None
):
    bring(stage, "a")
    wrote(earlier, since=EARLIER)
    wrote(recent, since=RECENT)
    seen = look()["speed_percent"]
    assert seen.value == (None if percent is None else pytest.approx(percent))
    assert seen.about == "a"


@pytest.mark.parametrize(
    ("loaded_ago", "written_ago", "why"),
    [
        (timedelta(hours=1), timedelta(minutes=9), ""),
        (timedelta(hours=1), timedelta(minutes=11), "it wrote fewer than 3 long answers in the last 10 minutes"),
        (timedelta(hours=9), timedelta(hours=4), "it wrote fewer than 3 long answers in the last 10 minutes"),
        (timedelta(minutes=2), timedelta(minutes=3), "it wrote fewer than 3 long answers since it was loaded"),
        (timedelta(minutes=4), timedelta(minutes=3), ""),
    ],
)
def test_answers_of_another_load_or_of_long_ago_say_nothing_about_now(
    stage: FakeEngine, loaded_ago: timedelta, written_ago: timedelta, why: str
):
    bring(stage, "a", loaded_at=NOW - loaded_ago)
    wrote([100.0] * 8, since=EARLIER)
    wrote([25.0] * 3, since=NOW - written_ago)
    seen = look()["speed_percent"]
    assert (seen.value, seen.why, seen.about) == (None if why else pytest.approx(25), why, "a")


def test_two_answers_of_long_ago_do_not_outvote_the_one_of_now(stage: FakeEngine):
    bring(stage, "a")
    wrote([100.0] * 8, since=EARLIER)
    wrote([6.0] * 2, since=NOW - timedelta(minutes=30))
    wrote([100.0], since=RECENT)
    assert look()["speed_percent"].value is None


G, OK, SHORT, REFUSED = GIVEN_UP, {}, {"tokens_out": 2}, {**GIVEN_UP, "work_seconds": 0.3}
MUTE = {**GIVEN_UP, "first_token_seconds": 1.0}  # an engine that does not count its tokens
LATE = "its last call was given up without a token, and no answer came since"


@pytest.mark.parametrize(
    ("calls", "percent", "why"),
    [
        ([G, G], 0.0, ""),
        ([OK, G, G], 0.0, ""),
        ([G, REFUSED, G, REFUSED], 0.0, ""),  # what fails at once says nothing of speed
        ([{**G, "work_seconds": 20.0}, {**G, "work_seconds": 20.0}], 0.0, ""),
        ([OK, G], None, LATE),
        ([G, OK, G], None, LATE),
        ([G, SHORT, G], None, LATE),
        ([G, G, OK], 100.0, ""),
        ([G, G, SHORT], 100.0, ""),
        ([G, G, MUTE], 100.0, ""),
        ([{**G, "work_seconds": 19.9}] * 2, 100.0, ""),
        ([{**G, "model": "other"}] * 2, 100.0, ""),
        ([{**G, "engine": "other"}] * 2, 100.0, ""),
    ],
)
def test_calls_that_were_given_up_are_no_speed_at_all(
    stage: FakeEngine, calls: list[dict[str, object]], percent: float | None, why: str
):
    bring(stage, "a")
    wrote([100.0] * 8, since=EARLIER)
    wrote([100.0] * 3, since=NOW - timedelta(minutes=9))
    for number, fields in enumerate(calls):
        wrote([100.0], since=RECENT + timedelta(seconds=number), **fields)
    seen = look()["speed_percent"]
    assert (seen.value, seen.why, seen.about) == (percent if percent is None else pytest.approx(percent), why, "a")


@pytest.mark.parametrize(
    ("loaded_ago", "given_up_ago", "percent"),
    [
        (60, (7, 2), 0.0),
        (60, (25, 2), 0.0),  # giving up a long call takes minutes, and nothing came in between
        (60, (25, 11), None),
        (5, (7, 2), None),  # the first was of the load before
        (1, (7, 2), None),
    ],
)
def test_calls_that_were_given_up_count_while_they_are_of_this_load_and_of_late(
    stage: FakeEngine, loaded_ago: int, given_up_ago: tuple[int, ...], percent: float | None
):
    bring(stage, "a", loaded_at=NOW - timedelta(minutes=loaded_ago))
    wrote([100.0] * 20, since=EARLIER)
    for minutes in given_up_ago:
        wrote([100.0], since=NOW - timedelta(minutes=minutes), **GIVEN_UP)
    assert look()["speed_percent"].value == percent


def test_a_call_counts_as_given_up_after_the_least_that_any_is_waited_for():
    assert resident_speed.GIVEN_UP_SECONDS == serving.CALL_OVERHEAD_SECONDS


def test_a_model_without_a_history_that_answers_nothing_is_told_all_the_same(stage: FakeEngine):
    bring(stage, "a")
    wrote([100.0] * 2, since=RECENT, **GIVEN_UP)
    assert look()["speed_percent"].value == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"tokens_out": 15},
        {"first_token_seconds": 0.0},  # of a release that kept none
        {"work_seconds": 2.0},
        {"engine": "other"},
        {"model": "other"},
        {"at": NOW - timedelta(days=31)},
    ],
)
def test_an_answer_that_tells_no_speed_of_this_model_is_left_out(stage: FakeEngine, fields: dict[str, object]):
    bring(stage, "a")
    wrote([100.0] * 8, since=EARLIER)
    wrote([100.0] * 3, since=RECENT)
    assert look()["speed_percent"].value == pytest.approx(100)
    wrote([1.0] * 3, since=RECENT, **fields)
    assert look()["speed_percent"].value == pytest.approx(100)


def test_the_slowest_model_on_the_card_is_told_and_one_without_history_hides_it_not(stage: FakeEngine):
    bring(stage, "a")
    wrote([100.0] * 8, since=EARLIER)
    wrote([30.0] * 3, since=RECENT)
    bring(stage, "b")
    assert (look()["speed_percent"].value, look()["speed_percent"].about) == (pytest.approx(30), "a")
    with transaction() as session:
        session.execute(delete(Resident).where(Resident.model == "a"))
    assert (look()["speed_percent"].value, look()["speed_percent"].about) == (None, "b")


def test_a_model_of_the_hosts_memory_is_as_slow_as_its_cores_are_busy(stage: FakeEngine):
    bring(stage, "a", memory="ram")
    wrote([100.0] * 8, since=EARLIER)
    wrote([10.0] * 3, since=RECENT)
    assert look()["speed_percent"].value == 100
