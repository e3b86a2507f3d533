"""Commits since the last run: each run knows where it begins and says so, and each commit says its part and kind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from blocks.reading.commit_groups import area_of, grouped, heading_of
from blocks.reading.history import (
    MOST_COMMITS,
    RANGES,
    Span,
    commits_of,
    older_than,
    ranges_text,
    read_ranges,
    span_of,
)
from blocks.reading.repository import open_repository
from tests.unit.git_stage import GitStage

PARTS = [
    ("feat(Cli): wait", {"x.py": "1"}, "cli", "Added"),
    ("fix!: it", {"src/x.py": "2"}, "src", "Fixed"),
    ("store: keep it", {"src/x.py": "3"}, "store", None),
    ("words", {"docs/a.md": "1"}, "docs", "Internal"),
    ("words", {"README.md": "1"}, "other files", "Internal"),
    ("words", {"a.py": "1"}, "other files", None),
    ("1.2.3", {"a.toml": "1"}, "other files", "Internal"),
    ("nothing", {}, "other files", None),
]


@pytest.fixture
def stage(tmp_path: Path) -> GitStage:
    return GitStage(tmp_path / "repository")


def test_a_day_is_told_the_same_twice_and_the_next_goes_on(stage: GitStage, tmp_path: Path) -> None:
    for n in range(3):
        stage.commit(f"c{n}", {"a.txt": f"{n}\n"})
    repository = open_repository(str(stage.folder))
    first = span_of(repository, tmp_path, "2026-11-20", days=30)
    (tmp_path / RANGES).write_text(ranges_text(tmp_path, "2026-11-20", first))
    assert span_of(repository, tmp_path, "2026-11-20", days=30) == first  # its words, too
    assert commits_of(repository, span_of(repository, tmp_path, "2026-11-21", days=30)) == []
    stage.commit("c3", {"a.txt": "3\n"})
    assert len(stage.shas) == 4
    assert [c.subject for c in commits_of(repository, span_of(repository, tmp_path, "2026-11-21", days=30))] == ["c3"]
    assert len(commits_of(repository, span_of(repository, tmp_path, "2026-11-20", days=30))) == 4


def test_a_rewritten_history_is_told_by_days_and_says_so(stage: GitStage, tmp_path: Path) -> None:
    stage.commit("c0", {"a.txt": "0\n"})
    repository = open_repository(str(stage.folder))
    gone = replace(span_of(repository, tmp_path, "2026-11-19", days=7), tip="f" * 40)
    (tmp_path / RANGES).write_text(ranges_text(tmp_path, "2026-11-19", gone))
    span = span_of(repository, tmp_path, "2026-11-20", days=7)
    assert span.base == ""
    assert "rewritten" in span.note


def test_another_repository_begins_anew_and_the_first_goes_on(stage: GitStage, tmp_path: Path) -> None:
    stage.commit("c0", {"a.txt": "0\n"})
    one = open_repository(str(stage.folder))
    (tmp_path / RANGES).write_text(ranges_text(tmp_path, "2026-11-18", span_of(one, tmp_path, "2026-11-18", days=7)))
    other = open_repository(str(stage.copy(tmp_path / "other").folder))
    span = span_of(other, tmp_path, "2026-11-19", days=7)
    assert (span.base, len(commits_of(other, span))) == ("", 1)
    assert "another repository" in span.note
    assert "rewritten" not in span.note
    (tmp_path / RANGES).write_text(ranges_text(tmp_path, "2026-11-19", span))
    assert span_of(other, tmp_path, "2026-11-19", days=7) == span
    assert span_of(one, tmp_path, "2026-11-20", days=7).base == stage.shas[0]


def test_of_more_commits_than_are_told_the_newest_are(stage: GitStage, tmp_path: Path) -> None:
    for n in range(MOST_COMMITS + 3):
        stage.commit(f"c{n}")
    repository = open_repository(str(stage.folder))
    span = Span("", repository.head(), "")
    commits = commits_of(repository, span)
    assert [c.sha for c in commits] == stage.shas[:2:-1]
    assert older_than(repository, commits, span) == 3
    assert older_than(repository, commits[:9], Span(stage.shas[-10], span.tip, "")) == 0


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"2026-11-19": 1}', "[" * 10_000),
        '{"2026-11-19": {"from": "--output=x", "to": "HEAD", "note": "", "source": ""}}',
        json.dumps({"2026-11-19": {"from": "", "to": "f" * 40}}),
    ],
)
def test_ranges_that_cannot_be_read_count_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / RANGES).write_text(text)
    assert read_ranges(tmp_path) == {}


def test_days_count_back_from_the_newest_commit(stage: GitStage, tmp_path: Path) -> None:
    day = 86_400
    for n, days_ago in enumerate([20, 9, 6, 0]):
        stage.commit(f"{days_ago}", {"a.txt": f"{n}\n"}, at=1_795_000_000 - days_ago * day)
    repository = open_repository(str(stage.folder))
    assert [c.subject for c in commits_of(repository, span_of(repository, tmp_path, "2026-11-20", days=7))] == [
        "0",
        "6",
    ]


def test_a_merge_has_no_lines_of_its_own_and_all_commits_are_there(stage: GitStage) -> None:
    stage.commit("base", {"a.txt": "1\n"})
    stage.commit("side", {"b.txt": "1\n"})
    stage.commit("main", {"c.txt": "1\n"}, since=0)
    stage.commit("join", since=2, merge=1)
    repository = open_repository(str(stage.folder))
    commits = commits_of(repository, Span(stage.shas[0], repository.head(), ""))
    assert {c.subject: (c.is_merge, c.lines) for c in commits} == {
        "join": (True, (0, 0)),
        "main": (False, (1, 0)),
        "side": (False, (1, 0)),
    }


def test_a_commit_says_its_part_and_kind(stage: GitStage) -> None:
    for subject, files, _, _ in PARTS:
        stage.commit(subject, files)
    repository = open_repository(str(stage.folder))
    commits = commits_of(repository, Span("", repository.head(), ""))[::-1]
    assert [(area_of(c), heading_of(c)) for c in commits] == [(area, heading) for _, _, area, heading in PARTS]
    assert {g.name: len(g.commits) for g in grouped(commits, area_of)} == {
        "cli": 1,
        "src": 1,
        "store": 1,
        "docs": 1,
        "other files": 4,
    }
