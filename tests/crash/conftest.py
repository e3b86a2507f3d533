"""A stage for each test: a line of its own, on a real server of these tests' own.

Not the session's server: that one has the fleet's deployments, and its scheduler locks its database for
about 2 s three times a minute (measured), which is no part of what is timed here.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from deployments.environment import SERVER
from deployments.services import stop_service
from governor.settings import Home, prepare_home
from tests.conftest import at_home, talking_to
from tests.crash.stage import Stage

Stages = Callable[[str], Stage]


@pytest.fixture(scope="session")
def quiet_server(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[[Home], None]) -> Iterator[Home]:
    """A Prefect server without deployments, in a state folder of its own."""
    where = Home(tmp_path_factory.mktemp("quiet") / "home")
    with at_home(where):
        prepare_home()
        start_server(where)
    try:
        yield where
    finally:
        assert stop_service(where, SERVER)


@pytest.fixture(scope="session")
def client(quiet_server: Home) -> Iterator[SyncPrefectClient]:
    """One client for all stages: to open one costs 0.1 s."""
    with talking_to(quiet_server):  # only while it is opened: the session's other server must not be told of it
        opened = get_client(sync_client=True)
        opened.__enter__()
    yield opened
    opened.__exit__(None, None, None)


@pytest.fixture
def stages(quiet_server: Home, client: SyncPrefectClient, tmp_path: Path) -> Iterator[Stages]:
    """Makes a stage for the line of that name; this test and its children talk to the server."""
    made: list[Stage] = []

    def make(line: str) -> Stage:
        made.append(Stage(line, tmp_path / line.replace(":", "_"), client))
        return made[-1]

    with at_home(quiet_server), talking_to(quiet_server):
        try:
            yield make
        finally:
            for stage in made:
                stage.close()
