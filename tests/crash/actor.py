"""One process of a play, as the parent sees it: what it said and when, and the signals that befall it.

The processes are forked from one that imported everything once (`forkserver`), so that each starts in some
20 ms; what they do is `tests.crash.part`. Every wait is bounded. Who plays on which line is `tests.crash.stage`.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import psutil
from prefect.settings import get_current_settings

from governor.state.models import Ticket
from governor.state.sessions import reading
from tests.crash.part import RAISED, Part, play

# A waiting ticket sits down some 0.1 s after the death that it waited for (measured), a tenth of this.
SOON_SECONDS = 1.0
# Start of a process and what it does before it takes its ticket: 0.1 s on a quiet machine with 2 cores.
START_SECONDS = 20.0
GONE_SECONDS = 10.0
# Longest that the server may let one wait before that fails a test, too.
STALLED_SECONDS = 15.0
# The server ends a lease 60 s after its last renewal, and looks every 15 s.
LEASE_ENDS_SECONDS = 80.0
POLL_SECONDS = 0.01

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(["tests.crash.part"])


class Heard(NamedTuple):
    """One thing that an actor said, and when by the monotonic clock that all processes share."""

    word: str
    at_s: float
    fact: Any

    def __str__(self) -> str:
        return f"{self.word} {'' if self.fact is None else self.fact} at {self.at_s:.3f};"


class Process(Protocol):
    """A process that can be waited for."""

    pid: int
    sentinel: int  # readable once it has ended

    def exit_code(self, within: float) -> int | None:
        """Its exit code, None while it runs."""
        ...


class _Forked:
    def __init__(self, part: Part, wire: Connection) -> None:
        self._process = _forking.Process(target=play, args=(part, wire, get_current_settings()), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid, self.sentinel = self._process.pid, self._process.sentinel

    def exit_code(self, within: float) -> int | None:
        self._process.join(within)
        return self._process.exitcode


class _Namespaced:
    """A process that is number 1 of a pid namespace of its own; `pid` is the one that it has here."""

    def __init__(self, part: Part, wire: Connection, unshare: Sequence[str]) -> None:
        handle = wire.fileno()
        argv = [*unshare, sys.executable, "-m", "tests.crash.part", part.as_json(), str(handle)]
        self._outer = subprocess.Popen(argv, pass_fds=[handle])
        until(lambda: self._inner() is not None, START_SECONDS, "unshare starts the process")
        self.pid = self._inner() or 0
        self.sentinel = os.pidfd_open(self._outer.pid)

    def _inner(self) -> int | None:
        return next((child.pid for child in psutil.Process(self._outer.pid).children()), None)

    def exit_code(self, within: float) -> int | None:
        """SIGKILL stands for every unusual end: what unshare makes of it differs between its versions."""
        with suppress(subprocess.TimeoutExpired):
            code = self._outer.wait(within)
            return code if code in (0, RAISED) else -signal.SIGKILL
        return None


@dataclass
class Actor:
    """One process of the play, as the parent sees it."""

    part: Part
    process: Process
    wire: Connection
    picture: Callable[[], str]
    said: list[Heard] = field(default_factory=list)
    excused: set[int] = field(default_factory=lambda: {0})
    ticket_id: int = 0
    took_s: float = 0.0

    def hear(self, word: str, within: float, *, passing: Sequence[str] = ("waits",)) -> Heard:
        """The next time that it says `word`; anything else that it says before is an error, but for `passing`.

        Raises:
            AssertionError: it said something else, ended, or said nothing for `within` seconds.
        """
        ends_s = time.monotonic() + within
        heard = self.hear_any(within)
        while heard.word in passing and heard.word != word:
            heard = self.hear_any(ends_s - time.monotonic())
        assert heard.word == word, f"{self.part.agent} said {heard}, not `{word}`; {self.picture()}"
        return heard

    def hear_any(self, within: float) -> Heard:
        """The next thing that it says, `ended` included."""
        try:
            ready = self.wire.poll(max(0.0, within))
            heard = Heard(*self.wire.recv()) if ready else None
        except (EOFError, ConnectionError):
            heard = Heard("ended", time.monotonic(), self.process.exit_code(GONE_SECONDS))
        assert heard is not None, f"{self.part.agent} said nothing within {within:.1f} s; {self.picture()}"
        self.said.append(heard)
        if heard.word == "took":
            self.ticket_id, self.took_s = heard.fact, heard.at_s
        return heard

    def hear_log(self, event: str, *, times: int = 1, within: float = START_SECONDS) -> None:
        """Wait until an event or a failpoint stands that often in its log."""
        log = Path(self.part.folder) / f"{self.part.agent}.log"
        what = f"{self.part.agent} logs {event}"
        until(lambda: log.exists() and log.read_text().count(event) >= times, within, what)

    def is_silent(self) -> bool:
        """Whether it has said nothing of note since."""
        while self.wire.poll():
            if self.hear_any(0.0).word != "waits":
                return False
        return True

    def tell(self, word: str) -> float:
        """Tell a seated actor to `rise`, or one that stays at a failpoint to `go on`; when that was."""
        self.wire.send(word)
        return time.monotonic()

    def sits(self, within: float = SOON_SECONDS, *, since: float | None = None) -> int:
        """It sits down at most `within` seconds after `since` (default: since it took its ticket); the fence.

        The time that the server took for an answer, beyond what is usual, is not counted.
        """
        since = self.took_s if since is None else since
        heard = self.hear("seated", since + within + STALLED_SECONDS - time.monotonic())
        fence, stalls = heard.fact
        stalled = sum(max(0.0, ended_s - max(begun_s, since)) for begun_s, ended_s in stalls)
        took = heard.at_s - since - stalled
        assert took <= within, f"{self.part.agent} sat down after {took:.2f} s, not {within} s: {self.picture()}"
        return fence

    def rises(self) -> float:
        """Tell it to stand up; when that was."""
        return self.tell("rise")

    def dies(self, within: float = START_SECONDS) -> float:
        """It was killed by its failpoint and by nothing else; when that was."""
        heard = self.hear("dies", within, passing=("waits", "seated"))
        assert heard.fact == self.part.dies_at
        self.is_ended_by(signal.SIGKILL)
        return heard.at_s

    def send(self, number: signal.Signals) -> float:
        """Send it a signal; when that was."""
        self.excused.add(-number)
        os.kill(self.process.pid, number)
        return time.monotonic()

    def kill(self) -> float:
        """SIGKILL; when that was. It may take some milliseconds."""
        return self.send(signal.SIGKILL)

    def dies_by_hand(self) -> None:
        """SIGKILL, and wait until it is dead."""
        self.kill()
        assert self.process.exit_code(GONE_SECONDS) is not None

    def stop(self) -> None:
        """SIGSTOP, and wait until it has stopped."""
        self.send(signal.SIGSTOP)
        stopped = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        until(lambda: psutil.Process(self.process.pid).status() in stopped, GONE_SECONDS, f"{self.part.agent} stops")

    def resume(self) -> float:
        """SIGCONT; when that was."""
        return self.send(signal.SIGCONT)

    def cancel(self) -> None:
        """SIGTERM, which Prefect's handler raises as an exception in its main thread; back once it has arrived."""
        self.send(signal.SIGTERM)
        until(lambda: not _is_pending(self.process.pid, signal.SIGTERM), GONE_SECONDS, "the signal arrives")

    def ends(self, word: str = "rose", within: float = GONE_SECONDS) -> str:
        """It ends by itself after it said `word` (`raised`: by an error); what it said of it."""
        heard = self.hear(word, within)
        self._ended_with(RAISED if word == "raised" else 0)
        return str(heard.fact)

    def ends_cancelled(self, ticket_state: str) -> None:
        """It ends by the signal that it was cancelled with, after it cleared up: its ticket is in that state."""
        self.hear("ended", GONE_SECONDS)
        self.is_ended_by(signal.SIGTERM)
        assert self.state == ticket_state

    def is_ended_by(self, number: signal.Signals) -> None:
        """It was ended by that signal, whoever sent it."""
        self._ended_with(-number)

    def _ended_with(self, code: int) -> None:
        self.excused.add(code)
        assert self.process.exit_code(GONE_SECONDS) == code

    def hear_out(self) -> None:
        """All that it still says, until it has ended: by itself when told to rise, or as was expected of it."""
        while not self.said or self.said[-1].word != "ended":
            self.hear_any(START_SECONDS)
        code = self.said[-1].fact
        assert code in self.excused, f"{self.part.agent} ended with {code}; {self.picture()}"

    def is_seated(self) -> bool:
        """Whether it believes that the seat is still its own."""
        self.tell("current")
        return bool(self.hear("current", GONE_SECONDS).fact)

    @property
    def state(self) -> str:
        """State of its ticket."""
        with reading() as session:
            return session.get_one(Ticket, self.ticket_id).state


def start(part: Part, picture: Callable[[], str], unshare: Sequence[str] = ()) -> Actor:
    """Start a process that plays `part`.

    Args:
        part: what it does. picture: describes the stage in the message of a failure.
        unshare: command line that runs it in a pid namespace of its own; then it is not forked but started anew.
    """
    here, there = cast("tuple[Connection, Connection]", _forking.Pipe())  # the other kind is of Windows
    process = _Namespaced(part, there, unshare) if unshare else _Forked(part, there)
    there.close()
    return Actor(part, process, here, picture)


def _is_pending(pid: int, number: signal.Signals) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("SigPnd", "ShdPnd")) and int(line.split()[1], 16) & 1 << number - 1:
                return True
    return False


def until(is_so: Callable[[], bool], within: float, what: str) -> None:
    """Look until something is so.

    Raises:
        AssertionError: it was not within that many seconds.
    """
    ends_s = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < ends_s, f"not within {within} s: {what}"
        time.sleep(POLL_SECONDS)
