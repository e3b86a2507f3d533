"""Runs whose worker died: those that go on are watched again, those that died are told, none stays open for good.

A child outlives a worker that was killed (`forking.alone`). The next worker finds it by its record on the server: it
counts for the places, can be cancelled, and when it ends without a word it is a crash. It is looked for at the start
and every minute, so that a run that was cut off between two steps of its start is found too.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import anyio
from anyio import to_thread
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry

from deployments.forking import alone
from deployments.queue_of_runs import QueueOfRuns
from deployments.run_process import has_its_worker, hears, identity_of, is_gone
from governor.events import log_event
from governor.processes import Identity, Life, end, life, wait_dead

if TYPE_CHECKING:
    from deployments.fleet_worker import FleetWorker

LOOK_EVERY_SECONDS = 60.0
# A worker names a run's process within a second of its state; but it may wait for a fork server, twice 90 s.
NAMED_WITHIN = timedelta(minutes=4)
SECOND_LOOK_SECONDS = 5.0
GRACE_SECONDS = 30.0
# To ask the server for its state takes a run half a second.
TOLD_SECONDS = 15.0
GONE = "hotdesk: the process of this run and the worker that watched it are gone; it runs again at its next time"
UNSEEN = (
    "hotdesk: the process of this run ended without a word after its worker had died; it runs again at its next time"
)
CANCELLED = "hotdesk: cancelled; the worker that started it was gone"
NEVER_BEGUN = "hotdesk: its worker died before the run began; it is begun again"


class Orphans:
    """What the worker that died left behind, for the worker that came after it. Bound to its event loop."""

    def __init__(self, worker: "FleetWorker", queue: QueueOfRuns) -> None:
        self._worker, self._queue = worker, queue
        self._adopted: dict[UUID, Identity] = {}
        self._gone: set[tuple[UUID, str]] = set()
        self._looked = False

    async def look(self) -> None:
        """See to every run of the pool that is open and not this worker's."""
        for run in await self._open():
            if run.id not in self._queue.at_work:
                await self._see_to(run)
        # Again soon after the first look: what is gone is told at the second (`_see_to`).
        await anyio.sleep(LOOK_EVERY_SECONDS if self._looked else SECOND_LOOK_SECONDS)
        self._looked = True

    def has(self, run: UUID) -> bool:
        """Whether this run was found, and its process still runs."""
        return run in self._adopted

    async def cancel(self, run: UUID) -> None:
        """Its process hears that it is to look, and ends by itself (`forking.alone`); else it is ended."""
        if (process := self._adopted.get(run)) is None:
            return
        if hears(process.pid, alone.TOLD_BY):
            self._queue.send(run, alone.TOLD_BY)
            await to_thread.run_sync(lambda: wait_dead(process, TOLD_SECONDS))
        await to_thread.run_sync(lambda: end(process, grace_seconds=GRACE_SECONDS))
        found = await self._worker.client.read_flow_run(run)
        if found.state is None or not found.state.is_cancelled():  # an engine that was not told says that it crashed
            await self._worker._mark_flow_run_as_cancelled(found, {"message": CANCELLED})

    async def _open(self) -> Sequence[FlowRun]:
        from governor.stuck import UNDER_WAY  # with it the state database, which `prefect` commands do not need

        wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY))))
        pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[self._worker.work_pool.name]))
        return await self._worker.client.read_flow_runs(flow_run_filter=wanted, work_pool_filter=pool)

    async def _see_to(self, run: FlowRun) -> None:
        name, state = run.infrastructure_pid or "", run.state
        seen, gone = (run.id, name), is_gone(name)
        if state is not None and state.type == StateType.PENDING and (not name or gone):
            await self._begin_again(run, state)  # a name is an earlier attempt's, or of a child that did nothing yet
        elif gone and seen not in self._gone:
            self._gone.add(seen)  # another worker of this host may be about to tell how it ended
        elif gone:
            self._gone.discard(seen)
            log_event("orphan_gone", run=str(run.id), process=name)
            await self._tell_end(run, GONE)
        elif (process := identity_of(name)) is not None and not has_its_worker(process.pid):
            self._adopt(run, process)

    async def _begin_again(self, run: FlowRun, state: State) -> None:
        """A run whose worker died between Prefect's Pending and the fork did nothing yet: it is lost to nobody."""
        if datetime.now(UTC) - state.timestamp < NAMED_WITHIN:
            return
        log_event("orphan_begun_again", run=str(run.id))
        again = AwaitingRetry(scheduled_time=datetime.now(UTC), message=NEVER_BEGUN)
        await self._worker.client.set_flow_run_state(run.id, again, force=True)

    async def _tell_end(self, run: FlowRun, why: str) -> None:
        """Its process is gone: a crash, or cancelled where that was asked. Who told its own end, or waits, is left."""
        from governor.stuck import UNDER_WAY

        try:
            found = await self._worker.client.read_flow_run(run.id)
        except ObjectNotFound:
            return
        same = found.infrastructure_pid == run.infrastructure_pid
        if found.state is None or found.state.type not in UNDER_WAY or not same:
            return
        if found.state.is_cancelling():
            await self._worker._mark_flow_run_as_cancelled(found, {"message": CANCELLED})
        else:
            await self._worker._propose_crashed_state(found, why)

    def _adopt(self, run: FlowRun, process: Identity) -> None:
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return  # it ended just now: the next look sees what that means
        if life(process) is not Life.ALIVE:
            os.close(pidfd)
            return
        log_event("orphan_adopted", run=str(run.id), pid=process.pid)
        self._adopted[run.id] = process
        self._queue.adopt(run, process.pid, lambda sign: _send(pidfd, process, sign))
        if self._worker._cancelling_observer is not None:
            self._worker._cancelling_observer.add_in_flight_flow_run_id(run.id)
        assert self._worker._runs_task_group is not None
        self._worker._runs_task_group.start_soon(self._watch, run, pidfd)
        if run.state is not None and run.state.is_cancelling():  # asked for while nobody heard
            self._worker._runs_task_group.start_soon(self.cancel, run.id)

    async def _watch(self, run: FlowRun, pidfd: int) -> None:
        """Until its process ends; a stop of this worker leaves it alone again."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(pidfd, over.set)
        try:
            with anyio.CancelScope() as scope:
                self._worker._scheduled_task_scopes.add(scope)
                await over.wait()
                self._adopted.pop(run.id, None)  # a cancel that comes now comes too late
                await self._tell_end(run, UNSEEN)
        except Exception as error:  # the next look tells it; a task that fails would end the worker and all its runs
            log_event("orphan_not_told", level=logging.WARNING, run=str(run.id), error=repr(error))
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            self._queue.ended(run.id)
            if self._worker._cancelling_observer is not None:
                self._worker._cancelling_observer.remove_in_flight_flow_run_id(run.id)


def _send(pidfd: int, process: Identity, sign: signal.Signals) -> None:
    """Only where it is heard: a process of a deployment's own command would be ended by it."""
    if hears(process.pid, sign):
        signal.pidfd_send_signal(pidfd, sign)
