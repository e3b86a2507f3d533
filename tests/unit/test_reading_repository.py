"""Repositories of strangers: nothing of theirs runs, everything is bounded, and each run knows where it begins."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from blocks.reading.commit_groups import area_of, grouped, heading_of
from blocks.reading.diffs import read_diff
from blocks.reading.history import RANGES, Span, commits_of, ranges_text, read_ranges, span_of
from blocks.reading.repository import open_repository, refusal, shown
from governor.errors import BadInput
from tests.unit.git_stage import GitStage

EVIL = """
[core]
    fsmonitor = {run}
    pager = {run}
    hooksPath = {hooks}
    sshCommand = {run}
    gitProxy = {run}
    askPass = {run}
    alternateRefsCommand = {run}
[pager]
    log = {run}
    rev-list = {run}
    diff-tree = {run}
[log]
    showSignature = true
[gpg]
    program = {run}
[diff]
    external = {run}
    submodule = log
[diff "evil"]
    textconv = {run}
    command = {run}
[filter "evil"]
    clean = {run}
    smudge = {run}
    process = {run}
[remote "origin"]
    url = ext::{run}
    promisor = true
    partialclonefilter = blob:none
    uploadpack = {run}
[extensions]
    partialClone = origin
[protocol]
    allow = always
[protocol "ext"]
    allow = always
[alias]
    rev-list = !{run}
    diff-tree = !{run}
"""


def everything(repository_folder: Path, out: Path) -> None:
    """Read all that any agent reads."""
    repository = open_repository(str(repository_folder))
    span = span_of(repository, out, "2026-11-20", days=30)
    commits_of(repository, span)
    read_diff(repository, span)
    for path in repository.paths(span.tip):
        repository.file(span.tip, path)


def careless(folder: Path, *arguments: str) -> None:
    """git as people call it."""
    subprocess.run(["git", *arguments], cwd=folder, capture_output=True, env={"PATH": os.environ["PATH"]})


@pytest.fixture
def stage(tmp_path: Path) -> GitStage:
    return GitStage(tmp_path / "repository")


def test_nothing_that_a_repository_configures_is_run(stage: GitStage, tmp_path: Path) -> None:
    marker, script, hooks = tmp_path / "marker", tmp_path / "evil.sh", tmp_path / "hooks"
    script.write_text(f"#!/bin/sh\necho run >> {marker}\ncat 2>/dev/null\n")
    script.chmod(0o755)
    hooks.mkdir()
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "post-checkout"):
        (hooks / name).symlink_to(script)
    stage.commit("one", {"a.txt": "a\n", ".gitattributes": "* diff=evil filter=evil\n"})
    stage.commit("two", {"a.txt": "b\n"})
    with (stage.folder / ".git/config").open("a") as config:
        config.write(EVIL.format(run=script, hooks=hooks))
    everything(stage.folder, tmp_path)
    assert not marker.exists()
    # The trap does snap: git as people call it runs the program.
    careless(stage.folder, "diff", "HEAD~1", "HEAD")
    assert marker.exists()


def test_a_missing_object_is_not_fetched(stage: GitStage, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    stage.commit("one", {"a.txt": "a\n"})
    stage.commit("two", {"a.txt": "b\n"})
    gone = stage.git("rev-parse", "HEAD:a.txt")
    (stage.folder / ".git/objects" / gone[:2] / gone[2:]).unlink()
    stage.git("config", "core.repositoryFormatVersion", "1")
    with (stage.folder / ".git/config").open("a") as config:
        config.write(
            f'[extensions]\npartialClone = o\n[remote "o"]\npromisor = true\nurl = "ext::sh -c touch% {marker}"\n'
        )
        config.write('[protocol "ext"]\nallow = always\n')
    with pytest.raises(BadInput):
        everything(stage.folder, tmp_path)
    assert not marker.exists()
    careless(stage.folder, "show")
    assert marker.exists()


def test_variables_of_the_caller_lead_nowhere_else(
    stage: GitStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.commit("here", {"a.txt": "a\n"})
    other = GitStage(tmp_path / "other")
    other.commit("there")
    monkeypatch.setenv("GIT_DIR", str(other.folder / ".git"))
    repository = open_repository(str(stage.folder))
    assert repository.head() == stage.shas[0]


def test_a_folder_inside_a_repository_is_none_itself(stage: GitStage) -> None:
    stage.commit("one", {"sub/a.txt": "a\n"})
    with pytest.raises(BadInput, match="no git repository"):
        open_repository(str(stage.folder / "sub"))


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("fatal: detected dubious ownership in repository at '/x'", "another user"),
        ("fatal: not a git repository (or any parent", "no git repository"),
        ("fatal: bad object \x1b[31mHEAD", "git says: fatal: bad object"),
        ("", "nothing"),
    ],
)
def test_what_git_refuses_is_said_in_plain_words(said: str, means: str) -> None:
    assert means in refusal("x", said).happened
    assert "\x1b" not in refusal("x", said).happened


def test_an_empty_repository_a_file_and_borrowed_objects_are_bad_input(stage: GitStage, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no commit yet"):
        open_repository(str(stage.folder)).head()
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="no folder"):
        open_repository(str(tmp_path / "file"))
    (stage.folder / ".git/objects/info").mkdir(exist_ok=True)
    (stage.folder / ".git/objects/info/alternates").write_text("/elsewhere\n")
    with pytest.raises(BadInput, match="borrows objects"):
        open_repository(str(stage.folder))


def test_odd_commits_are_read(stage: GitStage, tmp_path: Path) -> None:
    stage.commit(b"latin \xe9\xff and \x1b[31mred\n\nbody", {"a.txt": "a\n"}, by="‮evil\tname")
    stage.commit("year 9999", {"a.txt": "b\n"}, at=253402300799)
    stage.commit("x" * 100_000, {"a.txt": "c\n"})
    repository = open_repository(str(stage.folder))
    commits = commits_of(repository, Span("", repository.head(), ""))
    assert [len(c.subject) <= 200 for c in commits] == [True] * 3
    assert not any(mark in c.subject + c.author for c in commits for mark in "\x1b‮\n\t")


def test_file_names_cannot_pass_for_lines_or_other_files(stage: GitStage, tmp_path: Path) -> None:
    stage.commit("one", {"a.txt": "1\n"})
    odd = ["+++ b/etc", "ü\nn.txt", "a|b`c.txt", "‮gpj.exe", "-rf", ":(top)x", "diff --git a b"]
    stage.commit("two", {"a.txt": "1\n2", **dict.fromkeys(odd, "diff --git a/x b/x\n@@ -1 +1 @@\n--- a\n+++ b\n")})
    repository = open_repository(str(stage.folder))
    diff = read_diff(repository, Span(stage.shas[0], stage.shas[1], ""))
    assert {hunk.path for hunk in diff.hunks} == {shown(name) for name in [*odd, "a.txt"]}
    assert all([line.number for line in hunk.added] == [1, 2, 3, 4] for hunk in diff.hunks if hunk.path != "a.txt")
    [plain] = [hunk for hunk in diff.hunks if hunk.path == "a.txt"]
    assert [(line.mark, line.number) for line in plain.lines] == [(" ", 1), ("+", 2)]


def test_binary_huge_and_hidden_files_are_named_and_not_read(stage: GitStage) -> None:
    stage.commit("one", {"a.txt": "1\n"})
    huge = "".join(f"{n}\n" for n in range(2000))
    stage.commit("two", {"b.bin": b"\0\1", "g.json": huge, "h.py": "x = 1\n", ".gitattributes": "h.py -diff\n"})
    left_out = dict(read_diff(open_repository(str(stage.folder)), Span(stage.shas[0], stage.shas[1], "")).left_out)
    assert left_out == {
        "b.bin": "no text, or marked as none",
        "g.json": "2000 new lines at once",
        "h.py": "no text, or marked as none",
    }


def test_more_than_may_be_read_is_bad_input(stage: GitStage) -> None:
    stage.commit("s\n\n" + "x" * (9 << 20), {"a.txt": "1\n"})
    repository = open_repository(str(stage.folder))
    with pytest.raises(BadInput, match="more than 8 MiB"):
        commits_of(repository, Span("", repository.head(), ""))


def test_a_submodule_and_a_link_are_not_followed(stage: GitStage, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    stage.special("link", "120000", str(secret))
    stage.special("module", "160000", "1" * 40)
    repository = open_repository(str(stage.folder))
    diff = read_diff(repository, Span("", repository.head(), ""))
    assert "hunter2" not in str(diff)
    assert "hunter2" not in repository.file(repository.head(), "link")
    assert [hunk.path for hunk in diff.hunks] == ["link"]


def test_a_day_is_told_the_same_twice_and_the_next_goes_on(stage: GitStage, tmp_path: Path) -> None:
    for n in range(3):
        stage.commit(f"c{n}", {"a.txt": f"{n}\n"})
    repository = open_repository(str(stage.folder))
    first = span_of(repository, tmp_path, "2026-11-20", days=30)
    (tmp_path / RANGES).write_text(ranges_text(tmp_path, "2026-11-20", first))
    again = span_of(repository, tmp_path, "2026-11-20", days=30)
    assert (again.base, again.tip) == (first.base, first.tip)
    assert commits_of(repository, span_of(repository, tmp_path, "2026-11-21", days=30)) == []
    stage.commit("c3", {"a.txt": "3\n"})
    assert [c.subject for c in commits_of(repository, span_of(repository, tmp_path, "2026-11-21", days=30))] == ["c3"]
    assert len(commits_of(repository, span_of(repository, tmp_path, "2026-11-20", days=30))) == 4


def test_a_rewritten_history_is_told_by_days_and_says_so(stage: GitStage, tmp_path: Path) -> None:
    stage.commit("c0", {"a.txt": "0\n"})
    gone = {"from": "", "to": "f" * 40}
    (tmp_path / RANGES).write_text(json.dumps({"2026-11-19": gone}))
    span = span_of(open_repository(str(stage.folder)), tmp_path, "2026-11-20", days=7)
    assert span.base == ""
    assert "rewritten" in span.note


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"2026-11-19": 1}', '{"2026-11-19": {"from": "--output=x", "to": "HEAD"}}', "[" * 10_000]
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
    side = stage.commit("side", {"b.txt": "1\n"})
    main = stage.commit("main", {"c.txt": "1\n"}, since=stage.shas[0])
    stage.commit("join", since=main, merge=side)
    repository = open_repository(str(stage.folder))
    commits = commits_of(repository, Span(stage.shas[0], repository.head(), ""))
    assert {c.subject: (c.is_merge, c.lines) for c in commits} == {
        "join": (True, (0, 0)),
        "main": (False, (1, 0)),
        "side": (False, (1, 0)),
    }


@pytest.mark.parametrize(
    ("subject", "files", "area", "heading"),
    [
        ("feat(Cli): wait", {"x.py": "1"}, "cli", "Added"),
        ("fix!: it", {"src/x.py": "1"}, "src", "Fixed"),
        ("store: keep it", {"src/x.py": "1"}, "store", None),
        ("words", {"docs/a.md": "1"}, "docs", "Internal"),
        ("words", {"README.md": "1"}, "other files", "Internal"),
        ("words", {"a.py": "1"}, "other files", None),
        ("1.2.3", {"a.toml": "1"}, "other files", "Internal"),
        ("nothing", {}, "other files", None),
    ],
)
def test_a_commit_says_its_part_and_kind(stage: GitStage, subject: str, files: dict, area: str, heading: str) -> None:
    stage.commit(subject, files)
    repository = open_repository(str(stage.folder))
    [commit] = commits_of(repository, Span("", repository.head(), ""))
    assert (area_of(commit), heading_of(commit)) == (area, heading)
    assert [group.name for group in grouped([commit], area_of)] == [area]
