"""The sample repository: 200 commits, the same on every machine, and what the samples need stands in it."""

from pathlib import Path

from blocks.reading.history import Span, commits_of
from blocks.reading.repository import open_repository
from deployments.sample_repository import make_repository, read_recipe, stream_of

# Of recipe version 1. Who changes the recipe changes the version too.
HEAD = "c138d8cdf85e3ae42d795088f7b5ff5a5664d49c"


def test_every_machine_gets_the_same_commits(tmp_path: Path) -> None:
    make_repository(tmp_path / "made")
    repository = open_repository(str(tmp_path / "made"))
    assert repository.head() == HEAD
    commits = commits_of(repository, Span("", HEAD, ""))
    assert len(commits) == 200
    assert len({commit.author for commit in commits}) == 4
    assert sum(commit.is_merge for commit in commits) >= 4
    assert f"{commits[0].at:%Y-%m-%d}" == "2026-11-20"
    assert max(change.insertions for commit in commits for change in commit.changes) > 5000
    assert any(change.binary for commit in commits for change in commit.changes)


def test_the_recipe_is_made_into_one_stream() -> None:
    recipe = read_recipe()
    assert stream_of(recipe).count(b"\ncommitter ") == len(recipe) == 200
