"""Fixtures of the tests that run the real engine: the real weights, found or fetched once."""

import os
from pathlib import Path

import platformdirs
import pytest

from governor.settings import Home


@pytest.fixture(scope="session")
def weights_file() -> Path:
    """The shipped weights: `HOTDESK_TEST_WEIGHTS`, else fetched once into the user's cache folder."""
    named = os.environ.get("HOTDESK_TEST_WEIGHTS")
    if named:
        return Path(named).resolve(strict=True)
    from deployments.weights import fetch_weights

    cache = Home(platformdirs.user_cache_path("hotdesk", appauthor=False))
    cache.weights.mkdir(parents=True, exist_ok=True)
    return fetch_weights(cache)


@pytest.fixture
def weights_home(hotdesk_home: Home, weights_file: Path) -> Home:
    """A state folder with the weights in it, as a link: replace the file to spoil it, never write to it."""
    (hotdesk_home.weights / weights_file.name).symlink_to(weights_file)
    return hotdesk_home
