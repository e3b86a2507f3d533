"""What one process of a play does: it takes a ticket, waits, sits, stands up, and dies where it was told to.

It goes the way of `governor.desk._turn` with the real line, limit and effects; only the model is missing.
While it sits it keeps a kernel lock that no two can have at once, so an overlap of seats is seen at once.
What it says goes through a pipe, with the time; the parent's words come back the same way (`tests.crash.actor`).
"""

import fcntl
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from prefect.context import SettingsContext, get_settings_context
from prefect.settings import Settings
from prefect.utilities.engine import capture_sigterm

from governor import events, failpoints
from governor.desk import line_of
from governor.effects import RealEffects, Wait
from governor.lease import PrefectLimit
from governor.limit import Renewed
from governor.line import Errand
from governor.processes import Identity
from governor.settings import home
from governor.state import sessions
from governor.turn import Turn

# An answer takes 10 ms (measured); past this it is the server that keeps the line waiting.
STALL_SECONDS = 0.25
# Exit code of a process that ended by an error; none of Python's own.
RAISED = 3
NOBODY = 65534  # the user of that name everywhere


@dataclass(frozen=True)
class Part:
    """What a process plays.

    Attributes:
        environment: all of its variables: the processes are forked from one that has older ones.
        folder: of the stage: the lock of the seat and the tokens of death.
        dies_at: a failpoint at which it kills itself, if it gets the token: a file that one process removes.
        with_lease: it dies at `asking.answered` only when the answer was a lease.
        stays_at: a failpoint at which it says `at` and stays until it is told to go on.
        lock_wait_seconds: how long it waits for the database's lock, None for the line's own 30 s.
        dies_after_seconds: how long after the failpoint it dies, wherever it is then.
        powerless: it is not root, for whom no file is read-only.
        largest_file: bytes; a write past that fails as on a full disk.
    """

    agent: str
    line: str
    environment: dict[str, str]
    folder: str
    token: str
    patience_seconds: float = 90.0
    budget_seconds: float = 600.0
    dies_at: str = ""
    with_lease: bool = False
    dies_after_seconds: float = 0.0
    stays_at: str = ""
    lock_wait_seconds: float | None = None
    powerless: bool = False
    largest_file: int | None = None

    def as_json(self) -> str:
        """For the command line of a process that is not forked."""
        return json.dumps(asdict(self))


def play(part: Part, wire: Connection, settings: Settings | None = None) -> None:
    """The life of the process. `settings` are Prefect's, which take 60 ms to read from the environment."""
    os.environ.clear()
    os.environ.update(part.environment)
    with SettingsContext(profile=get_settings_context().profile, settings=settings or Settings()):
        _Player(part, wire).live()


class _Player:
    def __init__(self, part: Part, wire: Connection) -> None:
        self._part, self._wire = part, wire
        self._turn: Turn | None = None
        self._mouth = threading.Lock()

    def live(self) -> None:
        failpoints.install(self._at)
        _log_to(Path(self._part.folder) / f"{self._part.agent}.log")
        _hinder(self._part)
        if self._part.lock_wait_seconds is not None:
            sessions.LOCK_WAIT_SECONDS = self._part.lock_wait_seconds
        try:
            with capture_sigterm(), _Timed(self._part.line) as limit:
                self._visit(limit)
        except BaseException as error:  # the parent judges it; a process that is cancelled ends so
            self._say("raised", f"{type(error).__name__}: {error}")
            sys.exit(RAISED)
        else:
            self._say("rose")

    def _visit(self, limit: "_Timed") -> None:
        part = self._part
        line = line_of(part.line)
        line.ensure_slots(1)
        errand = Errand(part.line, part.agent, "a-model", part.patience_seconds)
        effects = _Audible(home().bells, lambda: self._say("waits"))
        turn = self._turn = Turn(line, limit, effects, errand, slots=1, budget_seconds=part.budget_seconds)
        try:
            turn.take()
            self._say("took", turn.ticket_id)
            grant = turn.wait()
            with self._alone():
                self._say("seated", (grant.fence, limit.stalls))
                turn.start_renewing()
                self._obey(turn)
        finally:
            turn.rise()

    def _obey(self, turn: Turn) -> None:
        """Sit until told to rise. `card`: what a seat does that waited for its card. `current`: is it?"""
        while (word := self._wire.recv()) != "rise":
            if word == "card":
                assert turn.grant is not None
                turn.line.start_budget(turn.grant, clock_s=turn.effects.clock_s())
            self._say("current", turn.is_current())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        handle = os.open(Path(self._part.folder) / "seat", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("overlap")
                raise
            yield
        finally:
            os.close(handle)

    def _at(self, point: str) -> None:
        events.logger.info(point)
        if point == self._part.stays_at and self._gets_token():
            self._say("at", point)
            self._wire.recv()
        if point == self._part.dies_at and self._is_time() and self._gets_token():
            if self._part.dies_after_seconds:
                threading.Timer(self._part.dies_after_seconds, self._die, [point]).start()
            else:
                self._die(point)

    def _die(self, point: str) -> None:
        self._say("dies", point)
        os.kill(os.getpid(), signal.SIGKILL)

    def _is_time(self) -> bool:
        if not self._part.with_lease:
            return True
        assert self._turn is not None
        assert self._turn.place is not None
        return self._turn.limit.find(self._turn.place.uuid) is not None

    def _gets_token(self) -> bool:
        try:
            (Path(self._part.folder) / self._part.token).unlink()
        except FileNotFoundError:
            return False
        return True

    def _say(self, word: str, fact: Any = None) -> None:
        with self._mouth, suppress(BrokenPipeError):  # the parent has seen enough
            self._wire.send((word, time.monotonic(), fact))


class _Audible(RealEffects):
    """Tells when the process has come to rest in line for the first time: from then on an offer finds it awake."""

    def __init__(self, bells: Path, tell: Callable[[], None]) -> None:
        super().__init__(bells)
        self._tell: Callable[[], None] | None = tell

    @contextmanager
    def bell(self, ticket_id: int) -> Iterator[Wait]:
        with super().bell(ticket_id) as self._bell:
            yield self

    def wait(self, watch: Sequence[Identity], seconds: float) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()
        self._bell.wait(watch, seconds)


class _Timed(PrefectLimit):
    """Notes from when to when the server let this process wait: its database is locked for 2 s now and then."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.stalls: list[tuple[float, float]] = []

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begun_s = time.monotonic()
        try:
            yield
        finally:
            if (ended_s := time.monotonic()) - begun_s > STALL_SECONDS:
                self.stalls.append((begun_s, ended_s))

    def prepare(self) -> None:
        with self._timed():
            super().prepare()

    def check(self, slots: int) -> None:
        with self._timed():
            super().check(slots)

    def ask(self, ticket_uuid: str) -> str | None:
        with self._timed():
            return super().ask(ticket_uuid)

    def renew(self, lease_id: str) -> Renewed:
        with self._timed():
            return super().renew(lease_id)

    def release(self, lease_id: str) -> bool:
        with self._timed():
            return super().release(lease_id)


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(created).3f %(message)s"))
    events.logger.handlers, events.logger.propagate = [handler], False
    events.logger.setLevel(logging.INFO)


def _hinder(part: Part) -> None:
    if part.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (part.largest_file, part.largest_file))
    if part.powerless and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


if __name__ == "__main__":  # PART FD: a process of its own, for those that cannot be forked
    play(Part(**json.loads(sys.argv[1])), Connection(int(sys.argv[2])))
