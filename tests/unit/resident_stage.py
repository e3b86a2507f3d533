"""Models in memory for the sensors' tests: real rows, with a card and an engine that only count."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from governor.policy.facts import ModelSpec, Reading
from governor.sensors import residents
from governor.settings import Home
from governor.state.residents import LearnedFootprint, Resident
from governor.state.sessions import transaction
from tests.fakes.card import FakeEngine, fake_card
from tests.unit.readings import values

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LOADED_AT = NOW - timedelta(hours=1)
NEEDS = {"a": 1000.0, "b": 500.0}


@pytest.fixture
def stage(hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    with fake_card(monkeypatch, lambda spec: NEEDS[spec.model]) as made:
        yield made


def bring(stage: FakeEngine, name: str, *, share: float = 1.0, **fields: Any) -> Resident:
    """A model on the fake card and the row of it; `share` of it went there."""
    spec = ModelSpec(
        engine="fake",
        model=name,
        source=name,
        line="gpu",
        context_tokens=4096,
        gpu_layers=-1,
        parameters_billion=1,
        expected_mib=NEEDS[name],
    )
    stage.on_card_share = share
    loaded = stage.load(spec)
    row = {"engine": "fake", "model": name, "context_tokens": 4096, "line": "gpu", "memory": "vram"}
    row |= {"state": "resident", "pids": list(loaded.pids), "memory_mib": NEEDS[name], "loaded_at": LOADED_AT}
    return resident(**{**row, **fields})


def resident(**fields: Any) -> Resident:
    row = Resident(**fields)
    with transaction() as session:
        session.add(row)
    return row


def learned(model: str, mib: float, **key: Any) -> None:
    usual = {"engine": "fake", "model": model, "context_tokens": 4096, "cache_type": "f16", "engine_slots": 1}
    with transaction() as session:
        row = {**usual, "place": "GPU-fake", "mean_mib": mib, "loads": 1, "measured_at": NOW, **key}
        session.add(LearnedFootprint(**row))


def look(*, costly: bool = True) -> dict[str, Reading]:
    readings = residents.read(NOW, costly=costly)
    assert values(readings)
    return {r.name: r for r in readings}
