"""The state database is locked, read-only or full: who holds something insists, who has nothing is told so."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from governor.giving_back import TRY_AGAIN_SECONDS
from governor.settings import Home, prepare_home
from governor.state.sessions import LOCK_WAIT_SECONDS, database
from tests.conftest import at_home
from tests.crash.actor import SOON_SECONDS, START_SECONDS
from tests.crash.conftest import Stages

# One try by a process that waits for the lock half a second, and the pause after it.
SHORT_WAIT_SECONDS = 0.5
TRIES = 4


@contextmanager
def locked(where: Home) -> Iterator[None]:
    """Another connection keeps the database's write lock inside the block."""
    with closing(sqlite3.connect(where.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_who_stands_up_insists_while_the_database_is_locked(quiet_server: Home, stages: Stages):
    stage = stages("gpu:locked:0")
    holder = stage.seat("holder", lock_wait_seconds=SHORT_WAIT_SECONDS)
    heir = stage.line_up("next")
    holder.hear_log("renew.done")
    with locked(quiet_server):
        holder.rises()
        holder.hear_log("hand_over.begin", times=TRIES)  # 3 s
        assert heir.is_silent()
        assert stage.slot.ticket_id == holder.ticket_id
    assert heir.sits(SHORT_WAIT_SECONDS + TRY_AGAIN_SECONDS + SOON_SECONDS, since=time.monotonic()) == 2
    stage.comes_to_rest()


@pytest.mark.long
def test_who_stands_up_insists_for_longer_than_it_waits_for_the_lock(quiet_server: Home, stages: Stages):
    stage = stages("gpu:locked:1")
    holder = stage.seat("holder")
    heir = stage.line_up("next")
    holder.hear_log("renew.done")
    with locked(quiet_server):
        holder.rises()
        holder.hear_log("hand_over.begin", times=2, within=LOCK_WAIT_SECONDS + START_SECONDS)
    assert heir.sits(TRY_AGAIN_SECONDS + SOON_SECONDS, since=time.monotonic()) == 2
    stage.comes_to_rest()


def test_who_waits_stays_in_line_while_the_database_is_locked(quiet_server: Home, stages: Stages):
    """The holder dies, and its heir cannot write that down for a while."""
    stage = stages("gpu:locked:2")
    holder = stage.seat("holder")
    heir = stage.line_up("next", lock_wait_seconds=SHORT_WAIT_SECONDS)
    with locked(quiet_server):
        holder.kill()
        heir.hear_log("reap.begin", times=2)
    assert heir.sits(SHORT_WAIT_SECONDS + TRY_AGAIN_SECONDS + SOON_SECONDS, since=time.monotonic()) == 2
    stage.comes_to_rest()


def test_who_asks_gives_the_lease_back_once_it_can_say_so_and_asks_anew(quiet_server: Home, stages: Stages):
    """A lease is released under a row that says so only: else whoever reaps the asker releases it a second time."""
    stage = stages("gpu:locked:3")
    asker = stage.enter("asker", stays_at="grant.begin", lock_wait_seconds=SHORT_WAIT_SECONDS)
    asker.hear("at", START_SECONDS)
    [lease_id] = stage.leases_of(asker)
    with locked(quiet_server):
        asker.tell("go on")
        asker.hear_log("decline.begin")
        assert stage.leases_of(asker) == [lease_id]
    assert asker.sits(SHORT_WAIT_SECONDS + 2 * TRY_AGAIN_SECONDS + SOON_SECONDS, since=time.monotonic()) == 1
    assert stage.leases_of(asker) not in ([], [lease_id])
    stage.comes_to_rest()


def test_who_comes_to_a_locked_database_is_told_so_and_leaves_nothing(quiet_server: Home, stages: Stages):
    stage = stages("gpu:locked:4")
    stage.seat("holder")
    with locked(quiet_server):
        newcomer = stage.start("newcomer", lock_wait_seconds=SHORT_WAIT_SECONDS)
        assert newcomer.ends("raised").startswith("StateUnavailable")
    assert stage.open_tickets() == ["holder is seated"]
    stage.comes_to_rest()


@pytest.fixture
def open_home() -> Iterator[Home]:
    """A state folder that every user can reach, ready for use."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        where = Home(Path(folder) / "home")
        with at_home(where):
            prepare_home()
            database()
        yield where
        where.root.chmod(0o700)


def write_protect(where: Home) -> None:
    for file in where.root.glob("hotdesk.db*"):
        file.chmod(0o444)
    where.root.chmod(0o555)


def lock_out(where: Home) -> None:
    where.root.chmod(0o000)


@pytest.mark.parametrize("close", [write_protect, lock_out])
def test_who_comes_to_a_folder_it_may_not_write_is_told_so(
    close: Callable[[Home], None], open_home: Home, stages: Stages
):
    stage = stages(f"gpu:{close.__name__.replace('_', '-')}:0")
    close(open_home)
    elsewhere = {**os.environ, "HOTDESK_HOME": str(open_home.root)}
    said = stage.start("newcomer", powerless=True, environment=elsewhere).ends("raised")
    assert said.partition(":")[0] in ("StateUnavailable", "NotReady")
    stage.comes_to_rest()


def test_who_comes_to_a_full_disk_is_told_so_and_leaves_nothing(stages: Stages):
    stage = stages("gpu:full:0")
    stage.seat("holder")
    said = stage.start("newcomer", largest_file=512).ends("raised")
    assert said.startswith("StateUnavailable")
    assert stage.open_tickets() == ["holder is seated"]
    stage.comes_to_rest()
