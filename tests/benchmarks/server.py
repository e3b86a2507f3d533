"""One real Prefect server for a benchmark, as `hotdesk up` starts it, in a state folder that goes afterwards.

Nothing here imports Prefect at the top: its settings are read once, at import, so the server's address
must stand in the environment before.
"""

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil

from deployments.environment import SERVER, apply_client_environment
from deployments.server import STOP_SECONDS, ensure_server
from deployments.services import running, stop_service
from governor.settings import Home, prepare_home
from tests.benchmarks.report import say


@dataclass(frozen=True)
class RealServer:
    """The server and the state folder it belongs to."""

    where: Home
    pid: int

    def cpu_seconds(self) -> float:
        """User and system time of its process tree so far."""
        top = psutil.Process(self.pid)
        times = [process.cpu_times() for process in (top, *top.children(recursive=True))]
        return sum(spent.user + spent.system for spent in times)

    def idle_cpu_percent(self, seconds: float) -> float | None:
        """What it takes of one core with nobody asking, watched for so long; None when not watched."""
        if seconds <= 0:
            return None
        before = self.cpu_seconds()
        time.sleep(seconds)
        return 100 * (self.cpu_seconds() - before) / seconds

    def make_limit(self, name: str, slots: int) -> None:
        """A global concurrency limit; the connection is closed again, so that this process may fork."""
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

        with get_client(sync_client=True) as client:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))


@contextmanager
def temporary_home() -> Iterator[Home]:
    """A prepared state folder; HOTDESK_HOME points at it inside the block, and it is removed at the end."""
    before = os.environ.get("HOTDESK_HOME")
    with tempfile.TemporaryDirectory(prefix="hotdesk-benchmark-") as folder:
        os.environ["HOTDESK_HOME"] = str(Path(folder) / "home")
        try:
            yield prepare_home()
        finally:
            if before is None:
                del os.environ["HOTDESK_HOME"]
            else:
                os.environ["HOTDESK_HOME"] = before


@contextmanager
def real_server(folder: Home | None = None) -> Iterator[RealServer]:
    """Start it on a free port of loopback; this process and its children talk to it from now on.

    Args:
        folder: a state folder that is in use already; None: a temporary one.

    Raises:
        NotReady: it did not start. RuntimeError: it could not be stopped.
    """
    with temporary_home() if folder is None else nullcontext(folder) as where:
        port = free_port()
        say("starting a Prefect server")
        ensure_server(where, port, say=say)
        try:
            apply_client_environment(where, port)
            row = running(where, SERVER)
            assert row is not None and row.pid is not None, "the server that just answered is not recorded"
            yield RealServer(where, row.pid)
        finally:
            say("stopping the server")
            if not stop_service(where, SERVER, grace_seconds=STOP_SECONDS):
                raise RuntimeError(f"the Prefect server in {where.root} could not be stopped")


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
