"""The server on a real PostgreSQL: it starts there, the fleet is deployed, and fifty runs' calls at once all pass.

Left out, saying so, where PostgreSQL's programs are not installed.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deployments.checks.prefect_server import kept_in
from deployments.database import environment_of
from deployments.environment import SERVER
from deployments.server import STOP_SECONDS, ensure_server
from deployments.services import running, stop_service
from governor.settings import Home
from tests.conftest import free_port, talking_to

PROGRAMS = ("initdb", "postgres")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
ACCOUNT = "nobody"  # PostgreSQL refuses to run as root
READY_SECONDS = 30.0
RUNS, DEPLOYED = 50, 4
pytestmark = [
    pytest.mark.long,  # initdb, a start with all migrations and a bootstrap: 25-40 s
    pytest.mark.skipif(bool(MISSING), reason=f"PostgreSQL is not installed: {', '.join(MISSING)} not on the PATH"),
]


def account() -> dict[str, Any]:
    return {"user": ACCOUNT, "extra_groups": []} if os.geteuid() == 0 else {}


@pytest.fixture
def postgres() -> Iterator[str]:
    """The address of a database of its own, with a password, that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="hd-pg-") as folder:
        data, password, port = Path(folder) / "data", secrets.token_hex(12), free_port()
        (Path(folder) / "password").write_text(password)
        for path in (Path(folder), Path(folder) / "password"):
            if account():
                shutil.chown(path, ACCOUNT)
        make = ["initdb", "-D", data, "-U", "hotdesk", "--auth=scram-sha-256", f"--pwfile={folder}/password"]
        subprocess.run(make, check=True, capture_output=True, timeout=60, cwd=folder, **account())
        told = ["-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(["postgres", "-D", data, *told], cwd=folder, stdout=log, stderr=log, **account())
        try:
            address = f"hotdesk:{password}@127.0.0.1:{port}/postgres"
            asyncio.run(accepts(f"postgresql://{address}"))
            yield f"postgresql+asyncpg://{address}"
        finally:
            process.send_signal(signal.SIGINT)  # its fast shutdown
            process.wait(READY_SECONDS)


async def accepts(address: str) -> None:
    """Returns once it answers."""
    import asyncpg

    async with asyncio.timeout(READY_SECONDS):
        while True:
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                await (await asyncpg.connect(address)).close()
                return
            await asyncio.sleep(0.1)


@pytest.fixture
def on_postgres(postgres: str, hotdesk_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Home, list[str]]]:
    """A server on it with a handful of deployments, and what was said while it started."""
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", postgres)
    told: list[str] = []
    ensure_server(hotdesk_home, free_port(), say=told.append)
    try:
        with talking_to(hotdesk_home):
            from deployments.bootstrap import bootstrap
            from deployments.fleet import read_fleet
            from governor.profile import current_profile

            assert len(bootstrap(current_profile(), read_fleet()[:DEPLOYED]).deployments) == DEPLOYED
            yield hotdesk_home, told
    finally:
        assert stop_service(hotdesk_home, SERVER, grace_seconds=STOP_SECONDS)


def test_fifty_runs_at_once_see_no_failure_on_postgresql(on_postgres: tuple[Home, list[str]], postgres: str):
    where, told = on_postgres
    assert any(said.startswith("runs are kept in PostgreSQL at 127.0.0.1:") for said in told)
    assert not (where.prefect / "prefect.db").exists()
    answers = asyncio.run(burst())
    assert [found for found in answers if not 200 <= found < 300] == []
    password = postgres.split(":")[2].split("@")[0]
    row = running(where, SERVER)
    assert row is not None and postgres in (environment_of(row) or {}).values()
    for environ in (os.environ, {}):  # the shell that started it, and one that knows nothing of it
        check = kept_in(where, row, environ)
        assert check.said.startswith("PostgreSQL at") and password not in check.said
        assert (check.outcome == "warn") is (not environ)
    written = [path for path in where.root.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert written == []


async def burst() -> list[int]:
    """What a worker and a flow run ask for, of fifty runs at once; every status, with the state each ended in."""
    user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
    open_to_all = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=os.environ["PREFECT_API_URL"], auth=(user, password), timeout=60, trust_env=False, limits=open_to_all
    ) as client:
        token = (await client.get("/csrf-token", params={"client": (name := str(uuid4()))})).json()["token"]
        client.headers.update({"Prefect-Csrf-Client": name, "Prefect-Csrf-Token": token})
        flow = (await client.post("/flows/", json={"name": "burst"})).json()["id"]
        deployed = [item["id"] for item in (await client.post("/deployments/filter", json={})).json()]
        assert len(deployed) == DEPLOYED
        each = [*deployed, *[None] * (RUNS - DEPLOYED)]
        ended = await asyncio.gather(*(one_run(client, flow, deployment) for deployment in each))
        return [status for statuses in ended for status in statuses]


async def one_run(client: httpx.AsyncClient, flow: str, deployment: str | None) -> list[int]:
    due = {"state": {"type": "SCHEDULED"}}
    if deployment is None:
        made = await client.post("/flow_runs/", json={"flow_id": flow, **due})
    else:  # the server counts these against the deployment's limit
        made = await client.post(f"/deployments/{deployment}/create_flow_run", json=due)
    run = made.json()["id"]
    path, line = f"/flow_runs/{run}", {"name": "x", "level": 20, "message": "a line", "flow_run_id": run}
    lines = [{**line, "timestamp": "2026-01-01T00:00:00Z"}] * 10
    answers = [made]
    for state in ("PENDING", "RUNNING", "COMPLETED"):
        answers.append(await client.post(f"{path}/set_state", json={"state": {"type": state}}))
        answers.append(await client.patch(path, json={"tags": [state]}))
        answers.append(await client.post("/logs/", json=lines))
    answers.append(await client.get(path))
    assert answers[-1].json()["state"]["type"] == "COMPLETED"
    return [answer.status_code for answer in answers]
