"""A flow that has ended does not wait for the thread that tells that it lives; its first beat is left out."""

import logging
import time
from typing import Any

import pytest
from prefect import flow_engine

from deployments.forking import beating


class FakeEngine:
    """FAKE: an engine that counts its beats."""

    heartbeat_seconds = 30
    flow_run = None
    logger = logging.getLogger("fake")

    def __init__(self) -> None:
        self.beats = 0

    def _build_heartbeat_event_template(self) -> tuple[dict[str, str], list[Any]]:
        return {}, []

    def _emit_flow_run_heartbeat(self, *_facts: Any) -> None:
        self.beats += 1


@pytest.fixture
def in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child changes in its own process ends with the test."""
    monkeypatch.setattr(flow_engine, "_send_heartbeats", flow_engine._send_heartbeats)
    kind = flow_engine.BaseFlowRunEngine
    monkeypatch.setattr(kind, "_emit_flow_run_heartbeat", FakeEngine._emit_flow_run_heartbeat)
    beating.skip_the_first()


@pytest.mark.usefixtures("in_a_child")
def test_a_flow_ends_without_waiting_for_the_next_look_of_its_thread():
    begun_s = time.monotonic()
    with flow_engine._send_heartbeats(FakeEngine()):  # type: ignore[arg-type]  # a fake
        pass
    assert time.monotonic() - begun_s < 0.5


@pytest.mark.usefixtures("in_a_child")
def test_the_first_beat_is_left_out():
    engine = FakeEngine()
    flow_engine.BaseFlowRunEngine._emit_flow_run_heartbeat(engine, {}, [])  # type: ignore[arg-type]  # a fake
    assert engine.beats == 0
