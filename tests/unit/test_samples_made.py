"""The samples that are made: once for a recipe, whole or not at all, and never a reason for the fleet not to start."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from deployments import samples
from deployments.checks import machine
from deployments.samples import prepare_samples, recipe_digest
from governor.errors import NotReady
from governor.settings import Home

Make = Callable[[Path], None]


class FakeMaker:
    """A FAKE of the maker of the sample repository."""

    def __init__(self) -> None:
        self.made = 0
        self.error: Exception | None = None

    def make_repository(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()
        if self.error:
            raise self.error
        self.made += 1
        (folder / "made").write_text(str(self.made))


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeMaker:
    fake, module = FakeMaker(), ModuleType("deployments.sample_repository")
    vars(module)["make_repository"] = fake.make_repository
    monkeypatch.setitem(sys.modules, "deployments.sample_repository", module)
    monkeypatch.setattr(samples, "recipe_digest", lambda: "one")
    return fake


def made(where: Home) -> list[str]:
    return [path.name for path in sorted((where.root / "samples").iterdir())]


def test_it_is_made_once_for_a_recipe(hotdesk_home: Home, maker: FakeMaker, monkeypatch: pytest.MonkeyPatch):
    prepare_samples(hotdesk_home)
    prepare_samples(hotdesk_home)
    assert maker.made == 1
    monkeypatch.setattr(samples, "recipe_digest", lambda: "another")
    prepare_samples(hotdesk_home)
    prepare_samples(hotdesk_home)
    assert maker.made == 2
    assert (hotdesk_home.root / "samples" / "repository" / "made").read_text() == "2"
    assert made(hotdesk_home) == ["repository", "repository.recipe"]


def test_one_that_was_thrown_away_comes_back(hotdesk_home: Home, maker: FakeMaker):
    prepare_samples(hotdesk_home)
    (hotdesk_home.root / "samples" / "repository").rename(hotdesk_home.root / "elsewhere")
    prepare_samples(hotdesk_home)
    assert maker.made == 2


def test_a_draft_that_a_killed_command_left_is_removed_and_one_being_made_stays(hotdesk_home: Home, maker: FakeMaker):
    prepare_samples(hotdesk_home)
    old, young = (hotdesk_home.root / "samples" / f".repository.{name}" for name in ("old", "young"))
    for draft in (old, young):
        (draft / "repository").mkdir(parents=True)
    os.utime(old, (0, 0))
    prepare_samples(hotdesk_home)
    assert made(hotdesk_home) == [".repository.young", "repository", "repository.recipe"]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "git"), NotReady("There is no git.", remedy="Install it.")])
def test_without_git_nothing_is_raised_and_nothing_half_is_left(hotdesk_home: Home, maker: FakeMaker, error: Exception):
    maker.error = error
    prepare_samples(hotdesk_home)
    assert made(hotdesk_home) == []
    maker.error = None
    prepare_samples(hotdesk_home)
    assert maker.made == 1


def test_an_old_one_stays_when_the_new_one_cannot_be_made(
    hotdesk_home: Home, maker: FakeMaker, monkeypatch: pytest.MonkeyPatch
):
    prepare_samples(hotdesk_home)
    monkeypatch.setattr(samples, "recipe_digest", lambda: "another")
    maker.error = OSError(28, "No space left on device")
    prepare_samples(hotdesk_home)
    assert (hotdesk_home.root / "samples" / "repository" / "made").read_text() == "1"


def test_a_recipe_is_the_maker_and_all_that_it_reads(tmp_path: Path):
    maker, folder = tmp_path / "maker.py", tmp_path / "recipe"
    assert recipe_digest(maker, folder) == ""
    maker.write_text("1")
    (folder / "__pycache__").mkdir(parents=True)
    first = recipe_digest(maker, folder)
    (folder / "__pycache__" / "x.pyc").touch()
    assert recipe_digest(maker, folder) == first
    (folder / "text").touch()
    second = recipe_digest(maker, folder)
    maker.write_text("2")
    assert len({first, second, recipe_digest(maker, folder)}) == 3


def test_doctor_says_when_git_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.git().outcome == "warn"
    (tmp_path / "git").touch(mode=0o755)
    assert machine.git().outcome == "pass"
