"""What the worker does of itself: a server that is away ends none of its runs, a fork is made only where it is safe."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.workers.base import BaseWorker

from deployments import fleet_worker
from deployments.fleet_worker import PREFETCH_SECONDS, FleetWorker, has_given_up
from deployments.forking.starter import ForkStarter
from governor.errors import NotReady

pytestmark = pytest.mark.usefixtures("hotdesk_home")
NOT_UP = NotReady("The fork server ended.", remedy="Try again.")


async def away(_worker: Any, _run: Any) -> None:
    raise ConnectionError("no server")


def test_a_run_that_cannot_be_submitted_gives_its_place_back_and_ends_nobody_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(BaseWorker, "_submit_run", away)
    worker, run = FleetWorker("hotdesk"), SimpleNamespace(id=uuid4())
    worker._submitting_flow_run_ids.add(run.id)
    given_back: list[Any] = []
    worker._queue.submitted = given_back.append  # type: ignore[method-assign]
    asyncio.run(worker._submit_run(run))  # type: ignore[arg-type]  # a run's id is all it needs
    assert given_back == [run.id]
    assert not worker._submitting_flow_run_ids, "or it would be passed over for good"


def test_a_cancel_that_cannot_be_carried_out_ends_nobody_else(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(BaseWorker, "_cancel_run", away)
    asyncio.run(FleetWorker("hotdesk")._cancel_run(uuid4()))


@pytest.mark.parametrize(
    ("can_fork", "fresh", "unsafe", "command", "kind"),
    [
        (True, None, False, False, ForkStarter),
        (False, None, False, False, EngineCommandStarter),  # macOS, Windows
        (True, NOT_UP, False, False, EngineCommandStarter),
        (True, None, True, False, EngineCommandStarter),  # something that was imported started a thread
        (True, None, False, True, EngineCommandStarter),  # a deployment's own command
    ],
)
def test_a_run_is_forked_only_where_that_is_safe(
    can_fork: bool, fresh: NotReady | None, unsafe: bool, command: bool, kind: type, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fleet_worker, "CAN_FORK", can_fork)
    worker = FleetWorker("hotdesk")
    worker.forks = FakeForks(fresh, unsafe)  # type: ignore[assignment]
    worker._known = SimpleNamespace(facts=no_facts)  # type: ignore[assignment]
    worker._client = SimpleNamespace()  # type: ignore[assignment]
    worker._executors.control_channel = SimpleNamespace()  # type: ignore[assignment]
    configuration: Any = SimpleNamespace(
        command="python x.py",
        env={},
        stream_output=True,
        _command_configured=command,
        _related_objects={"deployment": None},
    )
    assert type(asyncio.run(worker._starter(configuration, Path()))) is kind


class FakeForks:
    """FAKE: a fork server that is there, or does not come up, or is not safe."""

    def __init__(self, fresh: NotReady | None, unsafe: bool) -> None:
        self.is_unsafe, self._error = unsafe, fresh

    async def fresh(self) -> object:
        if self._error:
            raise self._error
        return self


async def no_facts(*_arguments: Any, **_named: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(("given", "used"), [(None, PREFETCH_SECONDS), (10, PREFETCH_SECONDS), (60, 60)])
def test_runs_are_known_before_their_time_whatever_prefect_passes_on(given: float | None, used: float):
    assert FleetWorker("hotdesk", prefetch_seconds=given)._prefetch_seconds == used


@pytest.mark.parametrize(
    ("consumer", "polling", "gone"),
    [(False, None, False), (True, False, False), (True, True, True), (None, True, True)],
)
def test_an_observer_of_cancels_that_has_given_up_is_known(consumer: bool | None, polling: bool | None, gone: bool):
    tasks = [None if done is None else SimpleNamespace(done=lambda done=done: done) for done in (consumer, polling)]
    observer: Any = SimpleNamespace(_consumer_task=tasks[0], _polling_task=tasks[1])
    assert has_given_up(observer) is gone
