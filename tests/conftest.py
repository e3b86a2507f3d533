"""Shared fixtures: a state folder of its own for every test that touches one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from governor.settings import Home, prepare_home


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    for item in items:
        if "long" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="long: run with --long (make test-long)"))


@pytest.fixture
def hotdesk_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A prepared state folder; HOTDESK_HOME points at it for this test and its children."""
    monkeypatch.setenv("HOTDESK_HOME", str(tmp_path / "home"))
    yield prepare_home()
