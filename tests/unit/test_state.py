"""The database loses no update, keeps UTC and refuses what it does not understand."""

import multiprocessing
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy.exc import StatementError

from governor.errors import NotReady
from governor.settings import Home
from governor.state.migrations import MIGRATIONS
from governor.state.models import Service, Setting
from governor.state.sessions import database, one_reading, reading, recall, remember, transaction

NOBODY = 65534  # the user of that name everywhere
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of one user in another's folder")


def test_no_increment_is_lost_between_threads(hotdesk_home: Home):
    remember("count", "0")

    def add() -> None:
        for _ in range(50):
            with transaction() as session:
                row = session.get_one(Setting, "count")
                row.value = str(int(row.value) + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert recall("count") == "200"


def test_the_database_is_private_and_in_wal_mode(hotdesk_home: Home):
    remember("a", "b")
    assert hotdesk_home.database.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(hotdesk_home.database) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)


def test_a_file_of_a_newer_release_is_left_untouched(hotdesk_home: Home):
    with sqlite3.connect(hotdesk_home.database) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(NotReady, match="newer hotdesk"):
        database()


def test_a_corrupt_file_is_named_and_left(hotdesk_home: Home):
    hotdesk_home.database.write_bytes(b"not a database" * 100)
    with pytest.raises(NotReady, match="cannot be opened"):
        database()
    assert hotdesk_home.database.read_bytes().startswith(b"not a database")


def for_reading(folder: Path) -> None:
    (folder / "hotdesk.db").chmod(0o444)
    folder.chmod(0o555)


def private(folder: Path) -> None:
    folder.chmod(0o000)


def within_a_private_one(folder: Path) -> None:
    folder.parent.chmod(0o000)


def its_file_alone(folder: Path) -> None:
    """As `sudo hotdesk up` would leave it."""
    os.chown(folder, NOBODY, NOBODY)


@pytest.mark.parametrize(
    ("close", "names"),
    [
        (for_reading, "home"),
        (private, "home"),
        (within_a_private_one, ""),
        pytest.param(its_file_alone, "home/hotdesk.db", marks=AS_ROOT),
    ],
)
def test_who_may_not_write_a_folder_is_told_whose_it_is_and_to_use_another(close: Callable[[Path], None], names: str):
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        where = Home(Path(above) / "home")
        where.root.mkdir()
        database(where.database)
        before = where.database.read_bytes()
        close(where.root)
        try:
            said = told_to_nobody(where.database)
        finally:
            for folder in (Path(above), where.root):
                folder.chmod(0o700)
        whose = "belongs to root" if os.geteuid() == 0 else "is read-only"
        assert f"{Path(above) / names} {whose}. Nothing was changed." in said
        assert "HOTDESK_HOME to a" in said
        assert "aside" not in said
        assert where.database.read_bytes() == before


def told_to_nobody(path: Path) -> str:
    """What a process that is not root, for whom no file is read-only, is told when it opens the database."""
    here, there = multiprocessing.Pipe(duplex=False)

    def live() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        try:
            database(path)
        except NotReady as error:
            there.send(str(error))

    child = multiprocessing.get_context("fork").Process(target=live)
    child.start()
    child.join(60)
    there.close()
    return here.recv()


def test_times_come_back_aware_and_in_utc(hotdesk_home: Home):
    there = datetime(2026, 3, 1, 7, 0, tzinfo=timezone(timedelta(hours=2)))
    with transaction() as session:
        session.add(Service(name="server", started_at=there))
    with reading() as session:
        assert session.get_one(Service, "server").started_at == datetime(2026, 3, 1, 5, 0, tzinfo=UTC)


def test_a_naive_time_is_refused(hotdesk_home: Home):
    with pytest.raises(StatementError, match="naive"), transaction() as session:
        session.add(Service(name="server", started_at=datetime(2026, 3, 1)))


def test_an_error_rolls_the_transaction_back(hotdesk_home: Home):
    remember("a", "before")
    with pytest.raises(RuntimeError), transaction() as session:
        session.get_one(Setting, "a").value = "after"
        session.flush()
        raise RuntimeError
    assert recall("a") == "before"


def test_within_one_look_every_reading_is_the_same_and_sees_the_same(hotdesk_home: Home):
    remember("a", "1")
    with one_reading():
        with reading() as first, reading() as second:
            assert first is second
            kept = first.get(Setting, "a")
            assert kept is not None and kept.value == "1"
        remember("a", "2")
        assert recall("a") == "1"
    assert recall("a") == "2"
    with reading() as after:
        assert after is not first
