"""The server's garbage is collected in a thread of its own, and its transactions on SQLite wait for their turn.

A cursor's end must not stop the thread that answers. What is patched in Prefect is held to its form here.
"""

import asyncio
import inspect
import subprocess
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from deployments.server_process import lock_at_the_beginning

READ, ADD = sa.text("SELECT n FROM counter"), sa.text("UPDATE counter SET n = n + 1")

WHO_COLLECTS = """
import threading, time
from deployments.server_process import collect_elsewhere

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        found.add(threading.current_thread().name)

found = set()
{before}
deadline = time.monotonic() + 20
while not found and time.monotonic() < deadline:
    [Cycle() for _ in range(5000)]  # seven times what lets Python collect by itself
print(sorted(found))
"""


def collectors(before: str) -> str:
    code = WHO_COLLECTS.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_garbage_in_cycles_is_collected_by_the_collector_alone():
    assert collectors("collect_elsewhere()") == "['collector']"
    assert collectors("") == "['MainThread']"  # what Python does by itself, so the test can see the difference


class Counter:
    """One row in a file of its own, as Prefect's server opens it."""

    def __init__(self, folder: Path) -> None:
        self.config = AioSqliteConfiguration(f"sqlite+aiosqlite:///{folder / 'counter.db'}")

    async def opened(self) -> AsyncEngine:
        engine = await self.config.engine()
        async with engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE counter AS SELECT 0 AS n"))
        return engine

    async def add(self, engine: AsyncEngine, read: asyncio.Event, others: asyncio.Event, bound: float) -> None:
        """Read, wait for the other one to have read (with the patch it cannot), write."""
        async with AsyncSession(engine) as session, self.config.begin_transaction(session):
            await session.scalar(READ)
            read.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(others.wait(), bound)
            await session.execute(ADD)


async def two_that_read_then_write(counter: Counter, bound: float) -> tuple[list[str], int]:
    """What went wrong, and what the counter is in the end."""
    engine, first, second = await counter.opened(), asyncio.Event(), asyncio.Event()
    both = (counter.add(engine, first, second, bound), counter.add(engine, second, first, bound))
    ended = await asyncio.gather(*both, return_exceptions=True)
    async with AsyncSession(engine) as session:
        n = await session.scalar(READ)
    return [str(error.orig) if isinstance(error, OperationalError) else repr(error) for error in ended if error], n


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The patch, for one test."""
    for name in ("begin_transaction", "begin_sqlite_stmt"):
        monkeypatch.setattr(AioSqliteConfiguration, name, getattr(AioSqliteConfiguration, name))
    lock_at_the_beginning()


@pytest.mark.usefixtures("patched")
def test_two_transactions_that_read_and_then_write_are_both_committed(tmp_path: Path):
    assert asyncio.run(two_that_read_then_write(Counter(tmp_path), 0.1)) == ([], 2)


def test_as_prefect_begins_them_one_fails_at_once(tmp_path: Path):
    assert asyncio.run(two_that_read_then_write(Counter(tmp_path), 20)) == (["database is locked"], 1)


@pytest.mark.usefixtures("patched")
@pytest.mark.parametrize("begun", [True, False])
def test_what_is_read_inside_of_a_transaction_does_not_wait_for_its_own_parent(tmp_path: Path, begun: bool):
    async def read_inside(counter: Counter) -> None:
        engine = await counter.opened()
        async with AsyncSession(engine) as outer, counter.config.begin_transaction(outer):
            await outer.execute(ADD)
            inner = AsyncSession(engine)
            async with inner, counter.config.begin_transaction(inner) if begun else nullcontext():
                assert await inner.scalar(READ) == 0
        assert SQLITE_BEGIN_MODE.get() is None

    asyncio.run(asyncio.wait_for(read_inside(Counter(tmp_path)), 10))


def test_prefect_begins_as_the_patch_takes_it_to():
    begin = inspect.signature(AioSqliteConfiguration.begin_transaction).parameters.values()
    assert [(one.name, one.default) for one in begin] == [
        ("self", inspect.Parameter.empty),
        ("session", inspect.Parameter.empty),
        ("with_for_update", False),
    ]
    assert list(inspect.signature(AioSqliteConfiguration.begin_sqlite_stmt).parameters) == ["self", "conn"]
    assert SQLITE_BEGIN_MODE.get() is None
