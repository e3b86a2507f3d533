"""The runs that wait at the worker: asked of the server now and then, started in due order as room comes free.

The server is asked on a wake-up and every few seconds, not for each free place: what it said is kept here until then.
A run that was cancelled or paused meanwhile is refused by the server when it is to start.
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from signal import Signals
from typing import TYPE_CHECKING
from uuid import UUID

import anyio
from anyio import to_thread
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse, WorkerFlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.runner._process_manager import ProcessHandle
from prefect.states import Cancelled

from deployments.bootstrap_names import BY_SCHEDULE_TAG, GOVERNOR_QUEUE, HELD_KEY
from deployments.forking import suspending
from governor.events import log_event
from governor.policy.admitting import AGENTS, HOUSE, Waiting, Working, admit

if TYPE_CHECKING:
    from deployments.fleet_worker import FleetWorker


@dataclass
class _AtWork:
    """A run that was started: `pid` once it has a process, `signal` reaches it where it is a fork."""

    working: Working
    pid: int | None = None
    signal: Callable[[Signals], None] | None = None


@dataclass
class QueueOfRuns:
    """Who waits and who works. Bound to the worker's event loop."""

    worker: "FleetWorker"
    places: Mapping[str, int]
    waiting: dict[UUID, WorkerFlowRunResponse] = field(default_factory=dict)
    at_work: dict[UUID, _AtWork] = field(default_factory=dict)
    held: str = ""

    def __post_init__(self) -> None:
        # Every `prefect` command imports the worker's module, and the state database takes it a third of a second.
        from deployments.admission import Admissions

        self._admissions = Admissions(self.places)
        self._turn, self._asking = anyio.Lock(), anyio.Lock()
        self._ended_meanwhile: set[UUID] = set()
        self._crowds: set[UUID] = set()
        self._told_held: str | None = None

    async def fill(self) -> None:
        """Ask the server what is due soon, and start what may."""
        async with self._asking:
            self._ended_meanwhile.clear()
            found = await self.worker._get_scheduled_flow_runs()
            crowds = await self._crowds_of(found)
            async with self._turn:  # both at once: with one of them old, twins that may run together would be dropped
                # The answer may be older than a whole short run, which is not to be begun again.
                known = self.at_work.keys() | self._ended_meanwhile
                self.waiting = {entry.flow_run.id: entry for entry in found if entry.flow_run.id not in known}
                self._crowds = crowds
        await self.admit()
        self.worker.waking.freed()  # the time of the next one may have changed

    async def admit(self) -> None:
        """Start what may start now."""
        async with self._turn:
            now = datetime.now(UTC)
            working = [one.working for one in self.at_work.values()]
            agents = sum(run.lane == AGENTS for run in working)
            room = self._admissions.room(now=now, working=agents)
            decided = admit(map(self._waiting, self.waiting.values()), working, room, now=now)
            if decided.held != self.held:
                self.held = decided.held
                log_event("runs_held", why=decided.held or "nobody waits")
            for run_id, why in decided.drop:
                await self._drop(run_id, why)
            await self._start([self.waiting.pop(run_id) for run_id in decided.start])

    @property
    def next_due_at(self) -> datetime | None:
        """When the next run that is known comes due; None when none is to come."""
        now = datetime.now(UTC)
        return min((due for entry in self.waiting.values() if (due := _due_at(entry.flow_run)) > now), default=None)

    def has_process(self, run_id: UUID, handle: ProcessHandle) -> None:
        """A started run has its process."""
        if (one := self.at_work.get(run_id)) is not None:
            one.pid = handle.pid
            one.signal = getattr(handle.raw_process, "signal", None)  # a fork's; another process listens for itself

    def adopt(self, run: FlowRun, pid: int, signal: Callable[[Signals], None]) -> None:
        """A run that a worker before this one started."""
        working = Working(run_id=run.id, deployment_id=run.deployment_id, lane=_lane(run))
        self.at_work[run.id] = _AtWork(working, pid, signal)

    def submitted(self, run_id: UUID) -> None:
        """Prefect's submission is over; a run that has no process by then was refused."""
        one = self.at_work.get(run_id)
        if one is not None and one.pid is None:
            self.ended(run_id)

    def ended(self, run_id: UUID) -> None:
        """A run is over: somebody else may start."""
        self._ended_meanwhile.add(run_id)
        if self.at_work.pop(run_id, None) is not None:
            self.worker.waking.freed()

    def tell(self, run_id: UUID) -> None:
        """A run was suspended: its process looks for itself."""
        self.send(run_id, suspending.TOLD_BY)

    def send(self, run_id: UUID, sign: Signals) -> None:
        """A signal for a run's process, where it is one that listens."""
        one = self.at_work.get(run_id)
        if one is not None and one.signal is not None:
            with contextlib.suppress(ProcessLookupError):
                one.signal(sign)

    async def tell_suspended(self) -> None:
        """Those that were suspended while nobody listened."""
        if not self.at_work:
            return
        wanted = FlowRunFilter(
            id=FlowRunFilterId(any_=list(self.at_work)),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])),
        )
        for run in await self.worker.client.read_flow_runs(flow_run_filter=wanted):
            self.tell(run.id)

    async def measure(self) -> None:
        """Look at what the agents' processes take, and write down why others wait where that changed."""
        if self.held != self._told_held:
            self._told_held = self.held
            await to_thread.run_sync(_tell_held, self.held)
        pids = [one.pid for one in self.at_work.values() if one.pid and one.working.lane == AGENTS]
        await to_thread.run_sync(self._admissions.measure, pids)

    async def _crowds_of(self, found: Iterable[WorkerFlowRunResponse]) -> set[UUID]:
        """Of deployments with several runs here: those of which the server lets several through. Others need no look.

        One that cannot be read counts among them: its runs are started rather than dropped.
        """
        here = {entry.flow_run.id: entry.flow_run.deployment_id for entry in found}
        here |= {run_id: one.working.deployment_id for run_id, one in self.at_work.items()}
        several = {which for which, runs in Counter(here.values()).items() if which is not None and runs > 1}
        return {which for which in several if not await self._is_alone(which)}

    async def _is_alone(self, which: UUID) -> bool:
        try:
            return _lets_one_through(await self.worker.client.read_deployment(which))
        except ObjectNotFound:
            return True  # its runs are cancelled as they come to start
        except Exception as error:  # it is read again with the next poll
            log_event("deployment_not_read", level=logging.WARNING, deployment=str(which), error=str(error))
            return False

    def _waiting(self, entry: WorkerFlowRunResponse) -> Waiting:
        run = entry.flow_run
        return Waiting(
            run_id=run.id,
            deployment_id=run.deployment_id,
            lane=_lane(run),
            due_at=_due_at(run),
            # The tag stays where a run had to be made again for another pool. One that was begun, as before a retry or
            # a pause, has work of its own behind it: no later run does that again.
            by_schedule=(run.auto_scheduled or BY_SCHEDULE_TAG in run.tags) and not run.run_count,
            alone=run.deployment_id not in self._crowds,
        )

    async def _start(self, entries: list[WorkerFlowRunResponse]) -> None:
        for entry in entries:
            seen = self._waiting(entry)
            working = Working(run_id=seen.run_id, deployment_id=seen.deployment_id, lane=seen.lane)
            self.at_work[seen.run_id] = _AtWork(working)
        if entries:
            await self.worker.submit_now(entries)

    async def _drop(self, run_id: UUID, why: str) -> None:
        self.waiting.pop(run_id, None)
        try:
            await self.worker.client.set_flow_run_state(run_id, Cancelled(message=f"hotdesk: {why}"))
        except Exception as error:  # it is looked at again with the next poll
            log_event("run_not_dropped", level=logging.WARNING, run=str(run_id), error=str(error))


def _due_at(run: FlowRun) -> datetime:
    return run.next_scheduled_start_time or run.expected_start_time or run.created or datetime.now(UTC)


def _lets_one_through(deployment: DeploymentResponse) -> bool:
    """Whether the server cancels a second run that comes to it while one works."""
    limit, options = deployment.global_concurrency_limit, deployment.concurrency_options
    cancels = options is not None and options.collision_strategy is ConcurrencyLimitStrategy.CANCEL_NEW
    return limit is not None and limit.active and limit.limit == 1 and cancels


def _lane(run: FlowRun) -> str:
    return HOUSE if run.work_queue_name == GOVERNOR_QUEUE else AGENTS


def _tell_held(held: str) -> None:
    from governor.state.sessions import remember

    remember(HELD_KEY, held)
