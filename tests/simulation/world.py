"""A seeded virtual world: clocks, processes, bells, signals and database faults for the line's own code.

Each virtual process is a greenlet that runs `governor.turn` unchanged. At every failpoint it gives way:
the world may let others run, kill it, stop it, cancel it or fail its transaction. One seed replays one
schedule. Who does what, and what is checked, is in `scenario`.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from greenlet import getcurrent, greenlet

from governor import failpoints
from governor.effects import Stop, Wait
from governor.errors import StateUnavailable
from governor.processes import Identity, Life

START = datetime(2026, 11, 1, 5, 0, tzinfo=UTC)
BOOT = "boot-1"


class Violation(AssertionError):
    """An invariant did not hold."""


class Killed(BaseException):
    """SIGKILL: raised at the next thing a dead process touches, so that its clean-up does nothing."""


class Cancelled(BaseException):
    """SIGTERM or a cancelled run, raised in the process as Prefect does."""


@dataclass
class Faults:
    """How likely each trouble is, per failpoint or per call."""

    kill: float = 0.0
    stop: float = 0.0
    cancel: float = 0.0
    database: float = 0.0
    silence: float = 0.0
    slow: float = 0.0


@dataclass(eq=False)
class Process:
    """One virtual process: its main greenlet and what runs beside it."""

    identity: Identity
    name: str
    born_s: float = 0.0
    alive: bool = True
    died_s: float = 0.0
    stopped: bool = False
    ever_stopped: bool = False
    shield: int = 0
    pending: bool = False
    fate: str = "running"
    immune: bool = False
    threads: list[greenlet] = field(default_factory=list)

    @property
    def is_agent(self) -> bool:
        """Not the governor, nor somebody who pauses the line."""
        return self.name.startswith("agent")


class World:
    """The hub. `run` drives everything to the end; `log` is the schedule as it went, for a failed seed."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.clock_s, self.wall_shift_s = 1000.0, 0.0
        self.last_end_s = 0.0
        self.processes: list[Process] = []
        self.log: list[str] = []
        self.observers: list[Callable[[str, Process], None]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._pids = itertools.count(100)
        self._owner: dict[greenlet, Process] = {}
        self._token: dict[greenlet, int] = {}
        self._waiting: dict[greenlet, tuple[int, Sequence[Identity]]] = {}
        self._parked: list[tuple[Process, greenlet]] = []
        self._hub = getcurrent()
        failpoints.install(self.at)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock_s + self.wall_shift_s)

    # -- events and greenlets ------------------------------------------------------------------------

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Let `act` happen in the hub after some virtual seconds."""
        heapq.heappush(self._queue, (self.clock_s + seconds, next(self._sequence), act))

    def spawn(self, name: str, body: Callable[[Process], None], *, pid: int | None = None) -> Process:
        pid = pid or next(self._pids)
        process = Process(Identity(BOOT, "ns", pid, int(self.clock_s * 100) + next(self._sequence)), name, self.clock_s)
        self.processes.append(process)

        def run() -> None:
            try:
                body(process)
            except (Killed, Cancelled):
                pass
            finally:
                if process.alive:
                    self.end(process)

        self.thread(process, run)
        return process

    def thread(self, process: Process, run: Callable[[], None]) -> greenlet:
        thread = greenlet(run, parent=self._hub)
        self._owner[thread] = process
        process.threads.append(thread)
        self.later(0.0, lambda: self._resume(thread, None))
        return thread

    def me(self) -> Process:
        return self._owner[getcurrent()]

    def sleep(self, seconds: float) -> None:
        """Give way to the others for some virtual seconds; trouble arrives here."""
        thread = getcurrent()
        process = self._owner[thread]
        if not process.alive:
            raise Killed
        token = self._token[thread] = next(self._sequence)
        self.later(seconds, lambda: self._resume(thread, token))
        self._hub.switch()
        if not process.alive:
            raise Killed
        if process.pending and not process.shield and thread is process.threads[0]:
            process.pending = False
            raise Cancelled

    def _resume(self, thread: greenlet, token: int | None) -> None:
        process = self._owner[thread]
        if thread.dead or (token is not None and self._token.get(thread) != token):
            return
        if process.stopped and process.alive:
            self._parked.append((process, thread))
            return
        self._token[thread] = -1
        self._waiting.pop(thread, None)
        thread.switch()

    def wake(self, thread: greenlet) -> None:
        """End a sleep early."""
        token = self._token.get(thread, -1)
        if token >= 0:
            self.later(self.random.choice((0.0003, 0.002, 0.02)), lambda: self._resume(thread, token))

    def run(self, until_s: float, over: Callable[[], bool] = lambda: False) -> None:
        """Play events until nothing is left, the virtual time is up, or it is `over`."""
        while self._queue and self._queue[0][0] <= until_s and not over():
            at_s, _, act = heapq.heappop(self._queue)
            self.clock_s = max(self.clock_s, at_s)
            act()

    def close(self) -> None:
        """Let every greenlet that is left end, so that none outlives its schedule."""
        failpoints.install(None)
        for process in self.processes:
            process.alive = False
            for thread in process.threads:
                if not thread.dead and thread:
                    thread.throw(Killed)

    # -- trouble -------------------------------------------------------------------------------------

    def at(self, name: str) -> None:
        """The hook of every failpoint: the present process is at `name`."""
        process = self._owner.get(getcurrent())
        if process is None:  # the test's own hand, outside of any process
            return
        if not process.alive:
            raise Killed
        self.log.append(f"{self.clock_s:9.3f} {process.name:8} {name}")
        for observer in self.observers:
            observer(name, process)
        dice = self.random
        if not process.immune and dice.random() < self.faults.kill:
            self.kill(process)
            raise Killed
        if name.endswith((".commit", ".begin")) and dice.random() < self.faults.database:
            raise StateUnavailable("The disk is full (virtual).", remedy="Wait.")
        if name.endswith(".commit"):
            return  # inside a transaction nobody else runs
        if not process.immune and dice.random() < self.faults.cancel:
            process.pending = True
        if not process.immune and dice.random() < self.faults.stop:
            self.stop(process, dice.choice((0.1, 0.4, 3.0, 40.0, 120.0)))
        slow = dice.random() < self.faults.slow
        self.sleep(dice.uniform(0.05, 1.5) if slow else dice.expovariate(1 / 0.002))

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        self.log.append(f"{self.clock_s:9.3f} {process.name:8} KILLED")
        process.fate = "killed"
        self.end(process)

    def end(self, process: Process) -> None:
        """The process is gone: whoever watches it wakes, its threads never run again."""
        process.alive, process.died_s = False, self.clock_s
        self.last_end_s = self.clock_s
        for thread, (_, watch) in list(self._waiting.items()):
            if process.identity in watch:
                self.wake(thread)
        self._parked = [(p, t) for p, t in self._parked if p is not process]
        for thread in process.threads:
            if thread is not getcurrent() and not thread.dead and thread:
                self.later(0.0, lambda thread=thread: None if thread.dead else thread.throw(Killed))

    def stop(self, process: Process, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self.log.append(f"{self.clock_s:9.3f} {process.name:8} STOPPED for {seconds}")
        process.stopped = process.ever_stopped = True
        self.later(seconds, lambda: self._continue(process))

    def _continue(self, process: Process) -> None:
        process.stopped = False
        parked = [thread for owner, thread in self._parked if owner is process]
        self._parked = [(p, t) for p, t in self._parked if p is not process]
        for thread in parked:
            self._resume(thread, None)

    def judge(self, identity: Identity) -> Life:
        """As the kernel would say."""
        if identity.boot_id != BOOT:
            return Life.DEAD
        known = next((p for p in self.processes if p.identity == identity), None)
        return Life.ALIVE if known is not None and known.alive else Life.DEAD


class VirtualEffects:
    """`governor.effects.Effects` for the process that calls."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return self._world.now()

    def clock_s(self) -> float:
        return self._world.clock_s

    def pause(self, seconds: float) -> None:
        self._world.sleep(seconds)

    @contextmanager
    def bell(self, ticket_id: int) -> Iterator[Wait]:
        yield _Bell(self._world, ticket_id)

    def ring(self, ticket_ids: Sequence[int]) -> None:
        self._world.at("ring")
        for thread, (ticket_id, _) in list(self._world._waiting.items()):
            if ticket_id in ticket_ids:
                self._world.wake(thread)

    def signal(self, process: Identity, *, hard: bool) -> None:
        world = self._world
        for known in world.processes:
            if known.identity == process and known.alive:
                if hard:
                    world.kill(known)
                else:
                    known.pending = True

    def shielded(self, act: Callable[[], None]) -> None:
        process = self._world.me()
        process.shield += 1
        try:
            act()
        finally:
            process.shield -= 1
        if process.pending and not process.shield:
            process.pending = False
            raise Cancelled

    def background(self, run: Callable[[Stop], None], name: str) -> "_Background":
        return _Background(self._world, run)


class _Bell:
    def __init__(self, world: World, ticket_id: int) -> None:
        self._world, self._ticket_id = world, ticket_id

    def wait(self, watch: Sequence[Identity], seconds: float) -> None:
        world = self._world
        world.at("waiting")
        if any(world.judge(identity) is Life.DEAD for identity in watch):
            return
        world._waiting[getcurrent()] = (self._ticket_id, tuple(watch))
        try:
            world.sleep(seconds)
        finally:
            world._waiting.pop(getcurrent(), None)


class _Background:
    def __init__(self, world: World, run: Callable[[Stop], None]) -> None:
        self._world, self._stop = world, False
        self._thread = world.thread(world.me(), lambda: self._run(run))

    def _run(self, run: Callable[[Any], None]) -> None:
        try:
            run(self)
        except Killed:
            return

    def wait(self, seconds: float) -> bool:
        if not self._stop:
            self._world.sleep(seconds)
        return self._stop

    def stop(self, seconds: float) -> None:
        self._stop = True
        ends_s = self._world.clock_s + seconds
        self._world.wake(self._thread)
        while not self._thread.dead and self._world.clock_s < ends_s:
            self._world.sleep(0.005)
