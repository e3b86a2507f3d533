"""What a worker knows of its runs: why one died, and what none of them has to ask for."""

import asyncio
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prefect import results
from prefect.client import base
from prefect.client.orchestration import PrefectClient
from prefect.states import Suspended
from pydantic import BaseModel

from deployments.forking import known, suspending
from deployments.forking.child import _settings_of
from deployments.forking.deaths import BY_SOMEBODY, FOR_MEMORY, Deaths
from deployments.forking.known import SPARE, STORAGE_FOR, Known

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "before", "after", "said"),
    [
        (-signal.SIGKILL, 3, 4, FOR_MEMORY),
        (-signal.SIGKILL, 3, 3, BY_SOMEBODY),
        (-signal.SIGTERM, 3, 4, ""),
        (1, 3, 4, ""),
        (0, 3, 4, ""),
        (-signal.SIGKILL, None, 4, ""),
        (-signal.SIGKILL, 3, None, ""),
    ],
)
def test_a_death_is_put_down_to_memory_only_where_the_kernel_says_so(
    tmp_path: Path, status: int, before: int | None, after: int | None, said: str
):
    deaths, run = Deaths(tmp_path / "vmstat"), uuid4()

    def counted(count: int | None) -> None:
        lines = "nr_free_pages 12\noom_kill_disabled 9\n" + ("" if count is None else f"oom_kill {count}\n")
        deaths.vmstat.write_text(lines)

    counted(before)
    at_start = deaths.look()
    counted(after)
    deaths.note(run, status, at_start)
    assert (at_start, deaths.causes.get(run, "")) == (before, said)


def test_a_kernel_that_counts_nothing_is_no_cause(tmp_path: Path):
    deaths = Deaths(tmp_path / "missing")
    assert deaths.look() is None
    deaths.note(uuid4(), -signal.SIGKILL, deaths.look())
    assert deaths.causes == {}


def test_settings_are_told_from_the_facts_of_one_run():
    env = {"PREFECT_API_URL": "u", "PREFECT__FLOW_RUN_ID": "1", "PREFECT__CONTROL_TOKEN": "t", "PATH": "/bin"}
    assert _settings_of(env) == {"PREFECT_API_URL": "u"}


class FakeClient:
    """A FAKE of a worker's client: tokens that are numbered, storage that may change, reads that are counted."""

    api_url = "http://127.0.0.1:4200/api"

    def __init__(self, *, protected: bool = True) -> None:
        self.protected = protected
        self.asked = self.tokens = self.storages = 0
        self.ends_at = NOW + timedelta(hours=1)
        self._client = self
        self.names: list[str] = []
        self.read: list[UUID] = []

    async def get(self, address: str) -> Any:
        path, _, name = address.partition("?client=")
        assert path == "/csrf-token"
        self.names.append(name)
        await asyncio.sleep(0)
        self.asked += 1
        if not self.protected:
            raise RuntimeError("422: CSRF protection is disabled")
        self.tokens += 1
        found = {"token": f"t{self.tokens}", "expiration": self.ends_at.isoformat().replace("+00:00", "Z")}
        return SimpleNamespace(json=lambda: found)

    async def read_server_default_result_storage(self) -> Any:
        self.storages += 1
        return SimpleNamespace(default_result_storage_block_id=None)

    async def read_deployment(self, which: UUID) -> "Read":
        self.read.append(which)
        return Read(which=which)

    read_flow = read_deployment


class Read(BaseModel):
    which: UUID
    job_variables: dict[str, str] = {}


def facts(of: Known, client: FakeClient, now: datetime, count: int = 1) -> list[dict[str, Any]]:
    async def ask() -> list[dict[str, Any]]:
        return await asyncio.gather(*(of.facts(cast(PrefectClient, client), now=now) for _ in range(count)))

    return asyncio.run(ask())


def test_eight_runs_at_once_share_one_token():
    client = FakeClient()
    told = facts(Known(), client, NOW, 8)
    token = {"client": client.names[0], "value": "t1", "ends": client.ends_at.isoformat()}
    assert told == [{"url": client.api_url, "token": token, "storage": ""}] * 8
    assert (client.tokens, client.storages) == (1, 1)


def test_a_token_is_asked_for_again_before_it_ends_and_storage_every_minute():
    async def ask() -> list[tuple[str, int]]:
        client, of, seen = FakeClient(), Known(), []
        last = client.ends_at - SPARE
        for now in (NOW, last - timedelta(seconds=1), last, last + timedelta(seconds=1), last + 2 * STORAGE_FOR):
            if now == last:
                client.ends_at += timedelta(hours=1)
            told = await of.facts(cast(PrefectClient, client), now=now)
            seen.append((told["token"]["value"], client.storages))
        return seen

    assert asyncio.run(ask()) == [("t1", 1), ("t1", 2), ("t2", 2), ("t2", 2), ("t2", 3)]


def test_a_token_is_in_a_name_of_its_own_so_that_nobody_ends_it():
    clients = [FakeClient(), FakeClient()]
    for client in clients:
        facts(Known(), client, NOW)
    assert clients[0].names != clients[1].names


def test_a_server_without_protection_gives_no_token_and_is_asked_seldom():
    async def ask() -> list[int]:
        client, of, seen = FakeClient(protected=False), Known(), []
        for now in (NOW, NOW + SPARE / 2, NOW + SPARE):
            told = await of.facts(cast(PrefectClient, client), now=now)
            seen.append(client.asked)
            assert (told["token"], told["url"]) == ({}, client.api_url)
        return seen

    assert asyncio.run(ask()) == [1, 1, 2]


def test_what_was_read_just_now_is_not_read_twice_and_nobody_changes_anothers():
    async def read() -> tuple[int, list[dict[str, str]], int, int]:
        client, one, other = FakeClient(), uuid4(), uuid4()
        known.read_once(cast(PrefectClient, client))
        first = await client.read_deployment(one)
        first.job_variables["image"] = "changed"
        again = [await client.read_deployment(one) for _ in range(3)]
        once = len(client.read)
        await client.read_deployment(other)
        two = len(client.read)
        await client.read_flow(one)
        return once, [each.job_variables for each in again], two, len(client.read)

    assert asyncio.run(read()) == (1, [{}, {}, {}], 2, 3)


def test_what_was_read_a_while_ago_is_read_again():
    async def read(seconds: float) -> int:
        client, one = FakeClient(), uuid4()
        reading = known._once(client.read_deployment, seconds)
        for _ in range(3):
            await reading(one)
        return len(client.read)

    assert [asyncio.run(read(seconds)) for seconds in (60.0, -1.0)] == [1, 3]


def test_an_answer_that_failed_is_not_kept():
    async def read() -> tuple[int, int]:
        calls = 0

        async def failing(_which: UUID) -> Any:
            nonlocal calls
            calls += 1
            raise ConnectionError("away")

        reading, one, caught = known._once(failing, 60.0), uuid4(), 0
        for _ in range(2):
            try:
                await reading(one)
            except ConnectionError:
                caught += 1
        return calls, caught

    assert asyncio.run(read()) == (2, 2)


@pytest.fixture
def prefect_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `use` does to Prefect in this process is undone."""
    for kind in (base.PrefectHttpxSyncClient, base.PrefectHttpxAsyncClient):
        monkeypatch.setattr(kind, "__init__", kind.__init__)
        monkeypatch.setattr(kind, "_add_csrf_headers", kind._add_csrf_headers)
    name = "_read_server_default_result_storage_block_id"
    monkeypatch.setattr(results, name, getattr(results, name))


@pytest.mark.parametrize(
    ("run_url", "taken"),
    [
        ("http://127.0.0.1:4200/api", True),
        ("http://127.0.0.1:4200/api/", True),
        ("http://10.0.0.1/api", False),
        ("", False),
    ],
)
def test_what_one_server_gave_is_not_shown_to_another(
    run_url: str, taken: bool, monkeypatch: pytest.MonkeyPatch, prefect_as_before: None
):
    monkeypatch.setenv("PREFECT_API_URL", run_url)
    before = results._read_server_default_result_storage_block_id
    token = {"client": str(uuid4()), "value": "t1", "ends": (NOW + timedelta(hours=1)).isoformat()}
    known.use({"url": "http://127.0.0.1:4200/api/", "token": token, "storage": ""}, None)
    client = base.PrefectHttpxSyncClient(base_url=run_url or "http://127.0.0.1:1", enable_csrf_support=True)
    with client:
        assert (client.csrf_token == "t1") is taken
    assert (results._read_server_default_result_storage_block_id is not before) is taken


def answers(*said: Any) -> tuple[Callable[[], Any], list[Any]]:
    """A FAKE server that says these one after the other, and what it has not said yet."""
    left = list(said)

    def ask() -> Any:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask, left


def test_a_busy_server_does_not_lose_a_suspension():
    suspended = Suspended()
    ask, left = answers(RuntimeError("503"), ConnectionError("away"), suspended, suspended)
    assert suspending._asked(ask, pauses_seconds=(0, 0, 0)) is suspended
    assert left == [suspended]


def test_a_server_that_stays_away_is_asked_for_a_minute():
    ask, left = answers(*[ConnectionError("away")] * 9)
    assert suspending._asked(ask, pauses_seconds=(0, 0, 0)) is None
    assert len(left) == 5
    assert sum(suspending.PAUSES_SECONDS) == 60
