"""Open the database so that no update is lost: WAL, BEGIN IMMEDIATE, a bounded wait for the lock.

SQLAlchemy's default on SQLite begins late and loses updates without an error (200 of 800
increments survived); with `isolation_level=None` and an explicit BEGIN IMMEDIATE none is lost.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, Pool, QueuePool

from governor.errors import NotReady, StateUnavailable
from governor.failpoints import failpoint
from governor.settings import home
from governor.state.migrations import MIGRATIONS, migrate
from governor.state.models import Setting
from governor.state.rights import refused

LOCK_WAIT_SECONDS = 30.0


def database(path: Path | None = None) -> Engine:
    """The engine of the state database, migrated, one per file and process (a fork gets its own)."""
    return _open(path or home().database, os.getpid())


@lru_cache(maxsize=8)
def _open(path: Path, _pid: int) -> Engine:
    engine = engine_for(f"sqlite:///{path}", poolclass=NullPool)
    try:
        with engine.begin() as connection:
            migrate(connection)
        path.chmod(0o600)
    except (DatabaseError, OSError) as error:
        raise refused(path) or NotReady(
            f"The state database {path} cannot be opened: {getattr(error, 'orig', None) or error}.",
            means="It was left as it is.",
            remedy="Check `hotdesk doctor`; move the file aside to start with an empty one.",
        ) from error
    return engine


def engine_for(url: str, *, poolclass: type[Pool], begin: bool = True) -> Engine:
    """An engine whose transactions begin with BEGIN IMMEDIATE, or with BEGIN under the option `reading`.

    Args:
        url: SQLAlchemy's address of the database.
        poolclass: how connections are kept.
        begin: False for an engine of `Store`, which begins by itself: an engine with a listener asks it
            at every statement, and that is a fifth of a hand-over.
    """
    # Threads of one process come and go; none must wait for another's connection.
    pool: dict[str, Any] = {"max_overflow": -1} if poolclass is QueuePool else {}
    engine = create_engine(
        url,
        poolclass=poolclass,
        **pool,
        connect_args={"timeout": LOCK_WAIT_SECONDS, "isolation_level": None, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _pragmas(connection: sqlite3.Connection, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")

    def _begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    if begin:
        event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def transaction(path: Path | None = None) -> Iterator[Session]:
    """One BEGIN IMMEDIATE transaction: committed at the end, rolled back on any error."""
    with Session(database(path), expire_on_commit=False) as session, session.begin():
        yield session


# The look that this thread has open, and of which file.
_shared: ContextVar[tuple[Path, Session] | None] = ContextVar("shared_look", default=None)


@contextmanager
def one_reading() -> Iterator[None]:
    """Every `reading` inside is the same look: to open and to close one costs as much as what is read (1 ms)."""
    with reading() as session:
        token = _shared.set((home().database, session))
        try:
            yield
        finally:
            _shared.reset(token)


@contextmanager
def reading(path: Path | None = None) -> Iterator[Session]:
    """A consistent look that takes no write lock and therefore never waits for one."""
    shared = _shared.get()
    if shared is not None and shared[0] == (path or home().database):
        yield shared[1]
        return
    with Session(database(path).execution_options(reading=True), expire_on_commit=False) as session:
        yield session


class Store:
    """The state database as the line uses it: named transactions, each all or nothing.

    Args:
        engine: as `engine_for(..., begin=False)` makes it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @contextmanager
    def change(self, name: str) -> Iterator[Connection]:
        """One BEGIN IMMEDIATE transaction; `name` is that of its failpoints (begin, commit, done).

        Raises:
            StateUnavailable: locked for 30 s, disk full, read-only or failing; nothing was changed.
        """
        failpoint(f"{name}.begin")
        with self._begun("BEGIN IMMEDIATE") as connection:
            yield connection
            failpoint(f"{name}.commit")
        failpoint(f"{name}.done")

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """A consistent look that takes no write lock.

        Raises:
            StateUnavailable: the database cannot be read now.
        """
        with self._begun("BEGIN") as connection:
            yield connection

    @contextmanager
    def _begun(self, begin: str) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:  # rolls back what was not committed
                driver: Any = connection.connection.driver_connection
                driver.execute(begin)
                yield connection
                connection.commit()
        except (OperationalError, sqlite3.OperationalError) as error:
            raise StateUnavailable(
                f"The state database cannot be used: {getattr(error, 'orig', error)}.",
                means="This step was not made; what was written before stays.",
                remedy="Check the disk and the rights of the state folder with `hotdesk doctor`.",
            ) from error


def store() -> Store:
    """The store of the state folder in use."""
    return _store(home().database, os.getpid())


@lru_cache(maxsize=8)
def _store(path: Path, _pid: int) -> Store:
    """One for each file and process. It keeps a connection: the last one to close empties the WAL, in 5 ms."""
    if not _is_current(path):
        database(path)
    return Store(engine_for(f"sqlite:///{path}", poolclass=QueuePool, begin=False))


def _is_current(path: Path) -> bool:
    """Whether the file is there and up to date: then a waiter needs no ORM and no lock to begin."""
    try:
        if not path.exists():
            return False
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=LOCK_WAIT_SECONDS)) as connection:
            return connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    except (OSError, sqlite3.Error):  # said by whoever opens it in earnest
        return False


def remember(key: str, value: str) -> None:
    """Keep one setting of this state folder."""
    with transaction() as session:
        session.merge(Setting(key=key, value=value))


def recall(key: str, default: str = "") -> str:
    """One remembered setting, or `default`."""
    with reading() as session:
        found = session.get(Setting, key)
        return found.value if found else default
