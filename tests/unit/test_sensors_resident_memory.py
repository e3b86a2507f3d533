"""Where the memory of our models is: spill, slack and what others take, by process (invariants 17, 18, 24)."""

import os
from typing import Any

import pytest

from governor import footprints, measuring
from governor.footprints import learn
from governor.measuring import SPILLED_BELOW_MIB
from governor.processes import boot_id
from governor.sensors import resident_memory
from governor.state.sessions import recall, remember
from tests.fakes.card import FakeEngine
from tests.unit.resident_stage import NOW, bring, learned, look, stage

__all__ = ["stage"]  # a fixture


@pytest.mark.parametrize(
    ("share", "mean_mib", "spilled"),
    [
        (1.0, 1000.0, 0.0),
        (0.7, 1000.0, 284.0),  # past the 16 MiB that any two loads differ by
        (1.0, 900.0, 0.0),  # more than learned is slack, not spill
        (0.7, None, 0.0),  # only estimated: it may be wrong by so much
        (0.4, None, 600.0),
    ],
)
def test_a_spill_is_what_should_be_on_the_card_and_is_not(
    stage: FakeEngine, share: float, mean_mib: float | None, spilled: float
):
    bring(stage, "b")
    learned("b", 400.0)
    bring(stage, "a", share=share)
    if mean_mib is not None:
        learned("a", mean_mib)
    seen = look()["spilled_mib"]
    assert seen.value == pytest.approx(spilled)
    assert seen.about == ("a" if spilled else "b")


@pytest.mark.parametrize(
    ("loads_mib", "share", "spilled"),
    [
        ((1000.0, 1260.0), 1.0, 0.0),  # a longer first prompt: 130 less than the mean, and sound
        ((1260.0, 1000.0), 1.0, 0.0),
        ((1000.0, 1260.0), 0.5, 262.3),  # the mean is 1130, twice the deviation 367.7
        ((1000.0, 1000.0, 1000.0), 0.9, 84.0),
        ((1000.0, 1000.0, 1000.0), 0.88, 104.0),
    ],
)
def test_a_load_that_admission_calls_sound_is_no_spill_later(
    stage: FakeEngine, loads_mib: tuple[float, ...], share: float, spilled: float
):
    row = bring(stage, "a", share=share)
    for mib in loads_mib:
        learn(row, mib, first=True, now=NOW)
    value = look()["spilled_mib"].value or 0.0
    assert value == pytest.approx(spilled, abs=0.1)
    expected = footprints.learned(row)
    assert expected is not None
    held_mib = stage.card.held_mib(row.pids) or 0.0
    assert (value >= SPILLED_BELOW_MIB) == measuring.spilled(stage.models["a"][1], held_mib, expected)


@pytest.mark.parametrize(
    ("said", "mean_mib", "slack"),
    [
        (None, 700.0, 300.0),
        (600.0, None, 400.0),
        (600.0, 700.0, 300.0),  # the engine leaves out the driver's context
        (950.0, 700.0, 50.0),
        (1200.0, None, 0.0),
        (None, None, None),
    ],
)
def test_slack_is_what_a_process_holds_beyond_what_is_accounted_for(
    stage: FakeEngine, said: float | None, mean_mib: float | None, slack: float | None
):
    bring(stage, "a")
    if said is not None:
        stage.accounts["a"] = said
    if mean_mib is not None:
        learned("a", mean_mib)
    seen = look()["vram_slack_mib"]
    assert (seen.value, seen.about) == (slack, "a")


def test_what_was_learned_of_another_way_to_load_it_is_not_held_against_it(stage: FakeEngine):
    bring(stage, "a")
    for other in ({"context_tokens": 8192}, {"cache_type": "q8_0"}, {"engine_slots": 2}, {"place": "GPU-other"}):
        learned("a", 100.0, **other)
    assert look()["vram_slack_mib"].value is None


def test_an_engine_that_lists_a_model_under_a_longer_name_is_understood_by_its_process(stage: FakeEngine):
    bring(stage, "a", model="short")
    stage.accounts["a"] = 600.0
    assert look()["vram_slack_mib"].value == 400


@pytest.mark.parametrize("hidden", ["by the driver", "by the engine", "ended"])
def test_what_cannot_be_charged_to_a_process_is_unknown(stage: FakeEngine, hidden: str):
    row = bring(stage, "a", **dict[str, Any]({"pids": []} if hidden == "by the engine" else {}))
    learned("a", 700.0)
    stage.card.says_pids = hidden != "by the driver"
    if hidden == "ended":
        stage.card.give_back(row.pids[0])
    seen = look()
    assert (seen["spilled_mib"].value, seen["vram_slack_mib"].value) == (None, None)
    assert (seen["vram_floor_drift_mib"].value is None) == (hidden != "ended")


def test_a_model_of_the_hosts_memory_is_not_looked_for_on_the_card(stage: FakeEngine):
    bring(stage, "a", memory="ram", pids=[])
    seen = look()
    assert (seen["spilled_mib"].value, seen["vram_slack_mib"].value, seen["vram_floor_drift_mib"].value) == (0, 0, 0)


def test_the_floor_drifts_by_what_others_took_since_the_lowest_of_this_boot(stage: FakeEngine):
    def drift() -> float | None:
        return look(costly=False)["vram_floor_drift_mib"].value

    stage.card.take(1, 300.0)  # a desktop
    assert drift() == 0
    bring(stage, "a")
    assert drift() == 0, "our own models are no drift"
    stage.card.take(2, 250.0)
    assert drift() == 250
    stage.card.give_back(1)
    assert drift() == 0, "a lower floor is the new lowest"
    stage.card.take(1, 300.0)
    assert drift() == 300


def test_the_lowest_of_another_boot_or_of_another_card_says_nothing(stage: FakeEngine):
    stage.card.take(1, 300.0)
    for kept in (
        '{"boot": "another", "place": "GPU-fake", "mib": 0.0}',
        f'{{"boot": "{boot_id()}", "place": "GPU-other", "mib": 0.0}}',
        "null",
        "of another release",
    ):
        remember(resident_memory.FLOOR, kept)
        assert look()["vram_floor_drift_mib"].value == 0
        assert '"mib": 300.0' in recall(resident_memory.FLOOR)


def test_while_a_model_loads_the_floor_is_unknown_and_is_not_remembered(stage: FakeEngine):
    bring(stage, "a", state="loading")
    assert look()["vram_floor_drift_mib"].why == "a model is being loaded"
    assert recall(resident_memory.FLOOR) == ""


def test_a_driver_that_names_none_of_our_processes_tells_no_floor(stage: FakeEngine):
    stage.card.take(1, 300.0)
    bring(stage, "a", pids=[os.getpid()])
    seen = look()["vram_floor_drift_mib"]
    assert (seen.value, seen.why) == (None, "the driver names none of our processes, which are alive")
    assert recall(resident_memory.FLOOR) == ""


def test_memory_that_moves_between_two_looks_tells_no_floor(stage: FakeEngine):
    row = bring(stage, "a")
    said = iter([900.0, 1000.0])

    def held_mib(pids: object) -> float:
        return next(said)

    stage.card.held_mib = held_mib
    assert "on the move" in resident_memory.floor_drift([row]).why
    assert recall(resident_memory.FLOOR) == ""
