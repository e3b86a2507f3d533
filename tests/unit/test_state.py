"""The database loses no update, keeps UTC and refuses what it does not understand."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.exc import StatementError

from governor.errors import NotReady
from governor.settings import Home
from governor.state.migrations import MIGRATIONS
from governor.state.models import Service, Setting
from governor.state.sessions import database, reading, recall, remember, transaction


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
