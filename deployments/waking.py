"""When the worker looks: at once when somebody asks for a run, when one comes due, when one has ended; else every 10 s.

An empty poll costs the server 31 to 49 ms of CPU (measured), so a poll every 3 s was 1.5% of a core for nothing. The
server's event stream tells of a run that somebody asked for; when the stream is away, the poll is what is left.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import anyio
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter

from deployments.queue_of_runs import QueueOfRuns
from governor.events import log_event

if TYPE_CHECKING:
    from deployments.fleet_worker import FleetWorker

SCHEDULED, SUSPENDED = "prefect.flow-run.Scheduled", "prefect.flow-run.Suspended"
# Fifty runs asked for in one loop are one poll, not fifty.
GATHER_SECONDS = 0.05
MEASURE_EVERY_SECONDS = 5.0
AGAIN_SECONDS = 10.0


class Waking:
    """The loops beside Prefect's own poll; each ends when the worker begins to stop."""

    def __init__(self, worker: "FleetWorker", queue: QueueOfRuns) -> None:
        self._worker, self._queue = worker, queue
        self._asked, self._freed = asyncio.Event(), asyncio.Event()

    def start(self) -> None:
        """Begin, in the worker's group of tasks."""
        group = self._worker._runs_task_group
        assert group is not None, "the worker is set up"
        own = (self._listen, self._poll_when_asked, self._admit_in_time, self._measure)
        for loop in (*own, self._worker.orphans.look):
            group.start_soon(self._until_stopped, loop)

    def freed(self) -> None:
        """A place came free: somebody who waits may start."""
        self._freed.set()

    async def _until_stopped(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Round after round; Prefect's teardown cancels these scopes first, so that nothing starts any more."""
        with anyio.CancelScope() as scope:
            self._worker._scheduled_task_scopes.add(scope)
            while True:
                try:
                    await loop()
                except Exception as error:
                    log_event("waking_failed", level=logging.WARNING, loop=loop.__name__, error=repr(error))
                    await anyio.sleep(AGAIN_SECONDS)

    async def _listen(self) -> None:
        """Hear of each run that somebody asks for or suspends. Those by schedule make no event."""
        pool = self._worker.work_pool
        heard = EventFilter(
            event=EventNameFilter(name=[SCHEDULED, SUSPENDED]),
            any_resource=EventAnyResourceFilter(id=[f"prefect.work-pool.{pool.id}"]),
        )
        async with get_events_subscriber(filter=heard) as events:
            self._asked.set()  # what was asked for before anybody listened
            await self._worker.hear_cancels_again()
            await self._queue.tell_suspended()
            async for event in events:
                if event.event == SCHEDULED:
                    self._asked.set()
                else:
                    self._queue.tell(UUID(event.resource.id.rpartition(".")[2]))
        await anyio.sleep(AGAIN_SECONDS)

    async def _poll_when_asked(self) -> None:
        await self._asked.wait()
        await anyio.sleep(GATHER_SECONDS)
        self._asked.clear()
        await self._worker.get_and_submit_flow_runs()

    async def _admit_in_time(self) -> None:
        """When a place came free, or the next run that is known comes due."""
        due_at = self._queue.next_due_at
        wait_seconds = (due_at - datetime.now(UTC)).total_seconds() if due_at else None
        with anyio.move_on_after(wait_seconds):
            await self._freed.wait()
        self._freed.clear()
        await self._queue.admit()

    async def _measure(self) -> None:
        await anyio.sleep(MEASURE_EVERY_SECONDS)
        await self._queue.measure()
