"""A first round of the fleet, one agent of every kind, runs beside the unit tests, in processes of its own.

It keeps a core or two busy for a minute or two. The tests before time real processes, or need both cores themselves.
"""

import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from governor.errors import HotdeskError
from tests.conftest import free_port, shipped_weights

BIN = Path(sys.executable).parent
UNIT_TESTS = Path(__file__).parents[1] / "unit"
# The brief is last: it reads what the others wrote.
ONE_OF_EACH = (
    "triage/support",
    "extract/invoices",
    "check/data-quality",
    "index/glossary",
    "log-watch/app",
    "digest/news",
    "draft/blog",
    "git-digest/changelog",
    "code-review/security",
    "compare/terms",
    "transform/seo-meta",
    "brief/evening-report",
)
# Alone it takes 90 s.
ROUND_SECONDS = 420.0
STOP_SECONDS = 60.0
KEY = pytest.StashKey["FirstRound"]()


@dataclass
class FirstRound:
    """`hotdesk up --once` in a state folder of its own, as a newcomer has it: an agent of every kind, one item each."""

    folder: "tempfile.TemporaryDirectory[str]"
    process: "subprocess.Popen[bytes]"
    output: IO[bytes]

    @property
    def home(self) -> Path:
        """The state folder."""
        return Path(self.folder.name) / "home"

    def ends(self) -> tuple[int, str]:
        """Its exit status and all that it said, once it ended."""
        code = self.process.wait(ROUND_SECONDS)
        self.output.seek(0)
        return code, self.output.read().decode()

    def stop(self) -> None:
        """End it and what it started, whatever became of the session."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)
        self.folder.cleanup()


def bare_environment(home: Path) -> dict[str, str]:
    """What a login shell has, and the state folder; nothing of Prefect's."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home.parent), "HOTDESK_HOME": str(home), "LANG": "C.UTF-8"}


def start_round() -> FirstRound:
    """Start it; what a newcomer's round asks of the model is three times as much."""
    folder, output = tempfile.TemporaryDirectory(), tempfile.TemporaryFile()  # noqa: SIM115  # read at its end
    home = Path(folder.name) / "home"
    (home / "weights").mkdir(parents=True)
    with suppress(HotdeskError):  # without the weights it ends, and says why
        (home / "weights" / shipped_weights().name).symlink_to(shipped_weights())
    process = subprocess.Popen(
        [BIN / "hotdesk", "up", "--once", "--no-tour", "--only", ",".join(ONE_OF_EACH), "--port", str(free_port())],
        env={**bare_environment(home), "HOTDESK_ROUND_ITEMS": "1"},
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    return FirstRound(folder, process, output)


class Starter:
    """A plugin, so that it is told of the tests of every folder."""

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Start it with the first unit test."""
        if UNIT_TESTS in item.path.parents:
            _started(item.config)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Only when its own test is going to run."""
    if any("first_round" in getattr(item, "fixturenames", ()) for item in session.items):
        session.config.pluginmanager.register(Starter())


def _started(config: pytest.Config) -> FirstRound:
    if KEY not in config.stash:
        config.stash[KEY] = start_round()
    return config.stash[KEY]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """It does not outlive the session."""
    if (started := session.config.stash.get(KEY, None)) is not None:
        started.stop()


@pytest.fixture
def first_round(pytestconfig: pytest.Config) -> FirstRound:
    """The round; it begins now if no unit test went before."""
    return _started(pytestconfig)
