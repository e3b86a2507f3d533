"""A real fork server for tests, whose children say how they were born (`fork_probe`) instead of running a flow."""

import asyncio
import contextlib
import json
import os
import select
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from deployments.forking.forks import Forks
from deployments.forking.link import Child
from tests.integration import fork_probe

ROOT = Path(__file__).parents[2]
SECONDS = 30.0


@dataclass
class Stage:
    """Forks of one server, on one event loop; `folder` is the test's own."""

    folder: Path
    probe: Path
    forks: Forks = field(default_factory=lambda: Forks(ROOT))
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)

    def run(self, what: Coroutine[Any, Any, Any], seconds: float = SECONDS) -> Any:
        """In the stage's event loop; a bound to every wait."""

        async def bound() -> Any:
            return await asyncio.wait_for(what, seconds)

        return self.runner.run(bound())

    async def fork(self, action: str, *, env: dict[str, str] | None = None, **other: Any) -> Child:
        """A child that does that."""
        return await self.forks.fork(self.request(action, env=env, **other))

    def request(self, action: str, *, env: dict[str, str] | None = None, **other: Any) -> dict[str, Any]:
        """As `starter` makes it."""
        return {
            "run": str(uuid4()),
            "env": {**_handed_on(), fork_probe.PROBE: action, **(env or {})},
            "folder": str(self.folder),
            "stream_output": True,
            "flow": None,
            "deployment": None,
            "known": {},
            **other,
        }

    async def status(self, action: str, **named: Any) -> int:
        """How a child that does that ends."""
        return await (await self.fork(action, **named)).ended

    async def look(self, *, well: bool = False, env: dict[str, str] | None = None) -> dict[str, Any]:
        """What one child found."""
        says = self.folder / f"{uuid4()}.json"
        status = await self.status("look-well" if well else "look", env={fork_probe.SAYS: str(says), **(env or {})})
        assert status == 0
        return json.loads(says.read_text())

    def close(self) -> None:
        """The server ends with the loop's end of the link."""
        self.forks.close()
        self.runner.close()


def _handed_on() -> dict[str, str]:
    """With settings of its own a child reads them all again."""
    return {name: value for name, value in os.environ.items() if name.startswith("PREFECT_") or name == "PATH"}


@dataclass
class Waiting:
    """A child that waits for a word, and two pipes to it."""

    says: int
    waits: int
    env: dict[str, str]

    @classmethod
    def make(cls, folder: Path) -> "Waiting":
        """Both ends open, so that nobody hangs in an `open`."""
        names = {fork_probe.SAYS: folder / f"says-{uuid4()}", fork_probe.WAITS: folder / f"waits-{uuid4()}"}
        for path in names.values():
            os.mkfifo(path)
        says, waits = (os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in names.values())
        return cls(says, waits, {name: str(path) for name, path in names.items()})

    async def hears(self) -> str:
        """The next line that it says."""
        await asyncio.to_thread(select.select, [self.says], [], [], SECONDS)
        return os.read(self.says, 4096).decode().strip()

    def go(self, code: int = 0) -> None:
        """Let it end with that code."""
        os.write(self.waits, str(code).encode())

    def close(self) -> None:
        """Both pipes."""
        for descriptor in (self.says, self.waits):
            os.close(descriptor)


def copy_of_probe(folder: Path) -> Path:
    """The probe as a file of its own, which a test may change."""
    return Path(shutil.copy(fork_probe.__file__, folder / "fork_probe.py"))


def server_facts(pid: int) -> dict[str, Any]:
    """Threads and descriptors of a process."""
    found: dict[str, str] = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found[entry.name] = str(entry.readlink())
    threads = [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    return {"threads": threads, "descriptors": found}
