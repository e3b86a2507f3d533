"""All processes that belong to one state folder: their memory and CPU, by what they are, sampled by a thread.

They are found by the folder in the environment that they were started with, which a fork inherits: a process that
was forked by a fork server is no child of the worker, and one whose parent died is nobody's. Reads /proc only.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from governor.processes import PROC
from tests.benchmarks.report import rounded

SAMPLE_SECONDS = 0.5
# Reading the PSS of a process takes a millisecond or more of kernel time: never more than this share of a core.
MOST_SHARE = 0.05
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
HOME, MARK = b"HOTDESK_HOME=", b"HOTDESK_SERVICE="
FORK_SERVER = b"deployments.forking"
# Of /proc/PID/stat after the closing bracket of the command.
PARENT, CPU, REAPED, START = 1, slice(11, 13), slice(13, 15), 19


@dataclass
class Member:
    """One process. `role`: `server`, the name of a worker's service, `fork_server` or `run`; seconds of CPU so far.

    `reaped_s` is what children of its that ended had used.
    """

    pid: int
    start: int
    role: str
    own_s: float = 0.0
    reaped_s: float = 0.0


@dataclass
class Moment:
    """The family at one moment: MiB of each role, and how many processes of runs there were."""

    at: float
    pss_mib: dict[str, float] = field(default_factory=dict)
    rss_mib: dict[str, float] = field(default_factory=dict)
    runs: int = 0

    @property
    def all_mib(self) -> float:
        """Of all."""
        return sum(self.pss_mib.values())


class Family:
    """Looks from time to time, from its own thread, until told to stop."""

    def __init__(self, root: Path, every_seconds: float = SAMPLE_SECONDS) -> None:
        self.members: dict[tuple[int, int], Member] = {}
        self.moments: list[Moment] = []
        self.cpu_s = 0.0
        self._root, self._every_seconds = os.fsencode(root), every_seconds
        self._strangers: set[tuple[int, int]] = set()
        self._heads: dict[str, int] = {}
        self._over, self._one_at_a_time = threading.Event(), threading.Lock()

    def run(self) -> None:
        """Sample until stopped."""
        seconds = 0.0
        while not self._over.wait(seconds):
            before = time.thread_time()
            self.look()
            cost = time.thread_time() - before
            self.cpu_s += cost
            seconds = max(self._every_seconds, cost / MOST_SHARE)

    def stop(self) -> None:
        """No further sample."""
        self._over.set()

    def look(self, *, memory: bool = True) -> list[Member]:
        """One sample; who is there."""
        with self._one_at_a_time:
            here = [member for pid in _pids() if (member := self._member(pid)) is not None]
            if memory:
                self._weigh(here)
            return here

    def spent(self) -> dict[str, float]:
        """Seconds of CPU by role so far. `run`: what parents reaped, and what those that live have used."""
        here = self.look(memory=False)
        total: dict[str, float] = {}
        for member in self.members.values():
            total[member.role] = total.get(member.role, 0.0) + member.own_s
        alive = sum(member.own_s for member in here if member.role == "run")
        reaped = sum(member.reaped_s for member in self.members.values() if member.role not in ("run", "server"))
        return {**total, "run": alive + reaped}

    def runs_alive(self) -> int:
        """How many processes of runs there are now."""
        return sum(member.role == "run" for member in self.look(memory=False))

    def _weigh(self, here: list[Member]) -> None:
        moment = Moment(time.time(), runs=sum(member.role == "run" for member in here))
        for member in here:
            for into, mib in zip((moment.rss_mib, moment.pss_mib), _memory_mib(member.pid), strict=True):
                into[member.role] = into.get(member.role, 0.0) + mib
        self.moments.append(moment)

    def _member(self, pid: int) -> Member | None:
        fields = _stat(pid)
        if fields is None or (key := (pid, int(fields[START]))) in self._strangers:
            return None
        if (member := self.members.get(key)) is None:
            role = self._role(pid, int(fields[PARENT]))
            if role is None:
                self._strangers.add(key)
                return None
            member = self.members[key] = Member(pid, key[1], role)
        member.own_s = sum(map(int, fields[CPU])) / TICKS_PER_SECOND
        member.reaped_s = sum(map(int, fields[REAPED])) / TICKS_PER_SECOND
        return member

    def _role(self, pid: int, parent: int) -> str | None:
        """None: not of this folder. A fork has its parent's command line, so the first of its kind is the server."""
        environment = _read(pid, "environ").split(b"\0")
        if pid == os.getpid() or HOME + self._root not in environment:
            return None
        marks = [entry.rpartition(b":")[2].decode() for entry in environment if entry.startswith(MARK)]
        service = marks[0] if marks else "other"
        if service == "server":
            return service
        if FORK_SERVER in _read(pid, "cmdline"):
            return "run" if FORK_SERVER in _read(parent, "cmdline") else "fork_server"
        return service if self._heads.setdefault(service, pid) == pid else "run"


@contextmanager
def family_of(root: Path, every_seconds: float = SAMPLE_SECONDS) -> Iterator[Family]:
    """The watch beside the block."""
    family = Family(root, every_seconds)
    thread = threading.Thread(target=family.run, daemon=True)
    thread.start()
    try:
        yield family
    finally:
        family.stop()
        thread.join()


def peak_figures(family: Family) -> dict[str, object]:
    """Memory at its worst, and what watching took."""
    peak = max(family.moments, key=lambda moment: moment.all_mib, default=Moment(0.0))
    run_mib = peak.pss_mib.get("run", 0.0)
    return {
        "peak_pss_mb": rounded(peak.all_mib * 1024**2 / 1e6, 0),
        "peak_pss_mib_by_role": {role: rounded(mib) for role, mib in sorted(peak.pss_mib.items())},
        "run_processes_at_peak": peak.runs,
        "pss_mib_a_run_at_peak": rounded(run_mib / peak.runs) if peak.runs else None,
        "samples": len(family.moments),
        "sampling_cpu_seconds": rounded(family.cpu_s, 2),
    }


def difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """What was spent in between."""
    return {role: seconds - before.get(role, 0.0) for role, seconds in after.items()}


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir(PROC) if entry.name.isdecimal())


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:  # ended, or another user's
        return b""


def _stat(pid: int) -> list[bytes] | None:
    """None of one that ended; one that nobody reaped yet has no memory, and its CPU still counts."""
    return _read(pid, "stat").rpartition(b")")[2].split() or None


def _memory_mib(pid: int) -> tuple[float, float]:
    """RSS and PSS; zero of one that just ended."""
    rows = (line.split() for line in _read(pid, "smaps_rollup").splitlines()[1:])
    found = {row[0]: int(row[1]) / 1024 for row in rows if len(row) == 3}
    return found.get(b"Rss:", 0.0), found.get(b"Pss:", 0.0)
