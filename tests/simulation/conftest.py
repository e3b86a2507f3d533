"""The long simulation runs beside the other tests, in a process of its own that starts when the session does."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, Any

import pytest

SCHEDULES, LONG_SCHEDULES = 10_000, 30_000
# It shares two cores with everything else; alone it takes four minutes.
BOUND_SECONDS, LONG_BOUND_SECONDS = 540.0, 3600.0
KEY = pytest.StashKey["Played"]()


@dataclass
class Played:
    """The simulation's process and what it says."""

    process: "subprocess.Popen[bytes]"
    said: IO[bytes]
    schedules: int
    bound_seconds: float

    def result(self) -> str:
        """All that it said, once it ended."""
        self.process.wait(self.bound_seconds)
        self.said.seek(0)
        return self.said.read().decode()


def _give_way() -> None:
    """Run only while nobody else wants a core: other tests time real engines and servers."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start it only when its test is going to run."""
    if session.config.option.collectonly:
        return
    if any(item.name == "test_every_invariant_holds_in_every_schedule" for item in session.items):
        long = session.config.getoption("--long")
        count, bound = (LONG_SCHEDULES, LONG_BOUND_SECONDS) if long else (SCHEDULES, BOUND_SECONDS)
        said: Any = tempfile.TemporaryFile()  # noqa: SIM115  # read once the process ended
        command = [sys.executable, "-m", "tests.simulation", "--seeds", str(count)]
        process = subprocess.Popen(command, stdout=said, stderr=said, preexec_fn=_give_way)
        session.config.stash[KEY] = Played(process, said, count, bound)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Whatever became of the session, the process does not outlive it."""
    played = session.config.stash.get(KEY, None)
    if played is not None and played.process.poll() is None:
        played.process.kill()
        played.process.wait(10)


@pytest.fixture
def played(pytestconfig: pytest.Config) -> Played:
    """The simulation that was started with this session."""
    return pytestconfig.stash[KEY]
