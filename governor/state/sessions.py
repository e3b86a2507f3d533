"""Open the database so that no update is lost: WAL, BEGIN IMMEDIATE, a bounded wait for the lock.

SQLAlchemy's default on SQLite begins late and loses updates without an error (200 of 800
increments survived); with `isolation_level=None` and an explicit BEGIN IMMEDIATE none is lost.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from governor.errors import NotReady
from governor.settings import home
from governor.state.migrations import migrate
from governor.state.models import Setting

LOCK_WAIT_SECONDS = 30.0


def database(path: Path | None = None) -> Engine:
    """The engine of the state database, migrated, one per file and process (a fork gets its own)."""
    return _open(path or home().database, os.getpid())


@lru_cache(maxsize=8)
def _open(path: Path, _pid: int) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=NullPool,
        connect_args={"timeout": LOCK_WAIT_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    try:
        with engine.begin() as connection:
            migrate(connection)
        path.chmod(0o600)
    except (DatabaseError, OSError) as error:
        raise NotReady(
            f"The state database {path} cannot be opened: {getattr(error, 'orig', None) or error}.",
            means="It was left as it is.",
            remedy="Check `hotdesk doctor`; move the file aside to start with an empty one.",
        ) from error
    return engine


@contextmanager
def transaction(path: Path | None = None) -> Iterator[Session]:
    """One BEGIN IMMEDIATE transaction: committed at the end, rolled back on any error."""
    with Session(database(path), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading(path: Path | None = None) -> Iterator[Session]:
    """A consistent look that takes no write lock and therefore never waits for one."""
    with Session(database(path).execution_options(reading=True), expire_on_commit=False) as session:
        yield session


class Watch:
    """Tells whether anybody else committed since the last look, for microseconds and no lock.

    `PRAGMA data_version` on one open connection changes when another connection commits.
    """

    def __init__(self, path: Path | None = None) -> None:
        database(path)
        self._connection = sqlite3.connect(path or home().database, timeout=LOCK_WAIT_SECONDS, check_same_thread=False)
        self._seen = -1

    def changed(self) -> bool:
        """True the first time and after every commit of another connection."""
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        changed, self._seen = version != self._seen, version
        return changed

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()


def remember(key: str, value: str) -> None:
    """Keep one setting of this state folder."""
    with transaction() as session:
        session.merge(Setting(key=key, value=value))


def recall(key: str, default: str = "") -> str:
    """One remembered setting, or `default`."""
    with reading() as session:
        found = session.get(Setting, key)
        return found.value if found else default
