"""Shared fixtures: a state folder for each test, the real weights, and one real Prefect server a session."""

import gc
import os
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import platformdirs
import pytest

from governor.settings import Home, prepare_home
from governor.state.sessions import database

# Before anything imports Prefect: a client without an address must fail, not start a server unasked.
os.environ["PREFECT_SERVER_EPHEMERAL_ENABLED"] = "false"
# Fixtures of what runs beside the tests, in processes of its own; who waits for its end comes last.
BESIDE = frozenset({"first_round", "played"})


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not BESIDE.isdisjoint(getattr(item, "fixturenames", ())))
    if config.getoption("--long"):
        return
    for item in items:
        if "long" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="long: run with --long (make test-long)"))


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.freeze()  # what was imported stays: to look through it again and again took 4 s of a session (measured)


@pytest.fixture(autouse=True)
def no_server_of_another_test() -> Iterator[None]:
    """What a command tells its own process of a server (PREFECT_API_URL, ...) ends with the test that ran it."""
    before = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_")}
    yield
    for name in [name for name in os.environ if name.startswith("PREFECT_") and name not in before]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state database as it is at the first start: to make its tables takes 60 ms, to copy them 1 ms (measured)."""
    path = tmp_path_factory.mktemp("database") / "hotdesk.db"
    database(path).dispose()
    with closing(sqlite3.connect(path)) as made:
        made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def hotdesk_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_database: Path) -> Home:
    """A prepared state folder; HOTDESK_HOME points at it for this test and its children."""
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "home"))
    where = prepare_home()
    where.database.write_bytes(new_database.read_bytes())
    return where


def shipped_weights() -> Path:
    """The shipped weights: `HOTDESK_TEST_WEIGHTS`, else fetched once into the user's cache folder."""
    named = os.environ.get("HOTDESK_TEST_WEIGHTS")
    if named:
        return Path(named).resolve(strict=True)
    from deployments.weights import fetch_weights

    cache = Home(platformdirs.user_cache_path("hotdesk", appauthor=False))
    cache.weights.mkdir(parents=True, exist_ok=True)
    return fetch_weights(cache)


@pytest.fixture(scope="session")
def weights_file() -> Path:
    """The file of the shipped weights."""
    return shipped_weights()


@pytest.fixture
def weights_home(hotdesk_home: Home, weights_file: Path) -> Home:
    """A state folder with the weights in it, as a link: replace the file to spoil it, never write to it."""
    (hotdesk_home.weights / weights_file.name).symlink_to(weights_file)
    return hotdesk_home


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Home], None]:
    """Starts a Prefect server. To make its tables is half of a start (4 s of CPU): the first makes them for all."""
    tables = tmp_path_factory.mktemp("tables") / "prefect.db"

    def start(where: Home) -> None:
        from deployments.server import ensure_server

        own = where.prefect / tables.name
        if tables.exists():
            copy(tables, own)
            ensure_server(where, free_port())
        else:
            ensure_server(where, free_port())
            copy(own, tables)

    def copy(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)

    return start


@pytest.fixture(scope="session")
def running_server(
    tmp_path_factory: pytest.TempPathFactory, weights_file: Path, start_server: Callable[[Home], None]
) -> Iterator[Home]:
    """A real Prefect server with limits, pool, blocks and deployments, in a state folder of its own."""
    where = Home(tmp_path_factory.mktemp("server") / "home")
    with at_home(where):
        prepare_home()
        (where.weights / weights_file.name).symlink_to(weights_file)
        start_server(where)
        try:
            with talking_to(where):
                from deployments.bootstrap import bootstrap
                from governor.profile import current_profile

                bootstrap(current_profile())
            yield where
        finally:
            from deployments.down import stop_everything
            from deployments.services import services

            with talking_to(where):
                left = stop_everything(where, lambda _text: None, [row.name for row in services(where)])
            assert left == [], left


@pytest.fixture
def fleet_server(running_server: Home) -> Iterator[Home]:
    """The session's server; this test and its children talk to it."""
    with at_home(running_server), talking_to(running_server):
        yield running_server


@contextmanager
def at_home(where: Home) -> Iterator[None]:
    """HOTDESK_HOME points at `where` inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOTDESK_HOME", str(where.root))
        yield


@contextmanager
def talking_to(where: Home) -> Iterator[None]:
    """The server's environment for children, and as settings for this process, which imported Prefect before."""
    from prefect.context import SettingsContext, get_settings_context
    from prefect.settings import Settings

    from deployments.environment import client_environment

    with pytest.MonkeyPatch.context() as patch:
        for name, value in client_environment(where).items():
            patch.setenv(name, value)
        with SettingsContext(profile=get_settings_context().profile, settings=Settings()):
            yield
