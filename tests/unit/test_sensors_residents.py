"""What our models do together, and what is told when a part of it cannot be read (invariant 24)."""

from dataclasses import replace
from pathlib import Path

import pytest

from governor.engines.protocol import Usage
from governor.processes import identify
from governor.profile import current_profile
from governor.state.residents import Resident
from governor.state.sessions import remember, transaction
from tests.fakes.card import FakeEngine
from tests.unit.resident_stage import bring, look, resident, stage

__all__ = ["stage"]  # a fixture
COSTLY = {"context_fill_percent", "requests_deferred", "vram_slack_mib"}


def test_with_no_model_in_memory_everything_of_models_is_known(stage: FakeEngine):
    assert {name: r.value for name, r in look().items()} == {
        "models_mib": 0,
        "models_percent": 0,
        "spilled_mib": 0,
        "speed_percent": 100,
        "vram_floor_drift_mib": 0,
        "context_fill_percent": 0,
        "requests_deferred": 0,
        "vram_slack_mib": 0,
    }


def test_a_cheap_look_asks_no_engine(stage: FakeEngine):
    bring(stage, "a")
    assert set(look()) - set(look(costly=False)) == COSTLY


def test_what_models_take_is_told_in_percent_of_what_they_may(stage: FakeEngine):
    bring(stage, "a")
    bring(stage, "b", state="loading")  # reserved before it is there
    seen = look()
    assert seen["models_mib"].value == 1500
    assert seen["models_percent"].value == pytest.approx(100 * 1500 / current_profile().memory_budget_mib)
    remember("memory_budget_mib", "0")
    assert look()["models_percent"].why == "models may take nothing"


def test_a_figure_that_fails_takes_no_other_with_it(stage: FakeEngine):
    bring(stage, "a")
    remember("memory_budget_mib", "a lot")
    seen = look()
    assert {name for name, r in seen.items() if r.value is None} == {
        *("models_mib", "models_percent", "speed_percent", "context_fill_percent", "requests_deferred"),
        "vram_slack_mib",
    }
    assert "a lot" in seen["models_percent"].why


def test_a_database_that_cannot_be_read_makes_all_of_it_unknown(
    stage: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "hotdesk.db").write_bytes(b"no database at all" * 100)
    monkeypatch.setenv("HOTDESK_HOME", str(broken))
    for costly in (True, False):
        assert {r.value for r in look(costly=costly).values()} == {None}


FILL = Usage(engine_slots=1, busy=1, context_tokens=4096, filled_tokens=1024, deferred=2)


@pytest.mark.parametrize(
    ("usages", "fill", "about", "deferred"),
    [
        ({"a": FILL, "b": replace(FILL, filled_tokens=3072, deferred=3)}, 75.0, "b", 5),
        ({"a": FILL}, 25.0, "a", 2),  # the engine of the other does not say
        ({"a": replace(FILL, deferred=None), "b": replace(FILL, filled_tokens=None)}, 25.0, "a", 2),
        ({"a": replace(FILL, filled_tokens=0, deferred=0)}, 0.0, "a", 0),
        ({"a": replace(FILL, context_tokens=0, deferred=None)}, None, "a", None),
        ({}, None, "a", None),
    ],
)
def test_how_full_the_fullest_is_and_how_many_wait(
    stage: FakeEngine, usages: dict[str, Usage], fill: float | None, about: str, deferred: float | None
):
    bring(stage, "a")
    bring(stage, "b")
    stage.usages = usages
    seen = look()
    assert (seen["context_fill_percent"].value, seen["context_fill_percent"].about) == (fill, about)
    assert seen["requests_deferred"].value == deferred


def test_a_model_whose_process_is_gone_or_that_is_on_its_way_is_not_asked(stage: FakeEngine):
    stage.usages = {"a": FILL, "b": FILL}
    bring(stage, "a", state="unloading")
    dead = bring(stage, "b")
    with transaction() as session:
        gone = session.get_one(Resident, dead.id)
        gone.identity = replace(identify(), start_ticks=1)
    assert look()["context_fill_percent"].value == 0


def test_a_row_of_an_engine_that_this_release_lacks_is_unknown_and_stops_nothing(stage: FakeEngine):
    resident(engine="of the future", model="x", context_tokens=4096, line="cpu", state="resident", memory_mib=10.0)
    seen = look()
    assert seen["context_fill_percent"].why == "its engine does not say"
    assert seen["models_mib"].value == 10
