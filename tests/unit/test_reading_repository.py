"""Repositories of strangers: nothing of theirs runs, everything is bounded, and each run knows where it begins."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blocks.reading.diffs import read_diff
from blocks.reading.history import (
    Span,
    commits_of,
    span_of,
)
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
    return GitStage(tmp_path / "repository", loose=True)


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
    gone = stage.git("-C", str(stage.folder), "rev-parse", "HEAD:a.txt")
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


def test_objects_of_elsewhere_are_not_read(stage: GitStage, tmp_path: Path) -> None:
    stage.commit("secret plan", {"a.txt": "a\n"})
    store = stage.folder / ".git"
    leads: dict[str, Callable[[Path], object]] = {
        "file": lambda git: git.write_text(f"gitdir: {store}\n"),
        "link": lambda git: git.symlink_to(store),
        "objects": lambda git: (
            (shutil.copytree(store, git), shutil.rmtree(git / "objects"))
            and (git / "objects").symlink_to(store / "objects")
        ),
        "commondir": lambda git: shutil.copytree(store, git) and (git / "commondir").write_text(f"{store}\n"),
    }
    for name, lead in leads.items():
        folder = tmp_path / name
        folder.mkdir()
        lead(folder / ".git")
        with pytest.raises(BadInput, match="lie outside"):
            open_repository(str(folder))


def test_a_git_folder_inside_the_folder_and_a_bare_one_are_read(stage: GitStage, tmp_path: Path) -> None:
    stage.commit("one", {"a.txt": "a\n"})
    shutil.copytree(stage.folder / ".git", tmp_path / "bare.git")
    (stage.folder / ".git").rename(stage.folder / "store")
    (stage.folder / ".git").write_text("gitdir: store\n")
    for folder in (stage.folder, tmp_path / "bare.git"):
        assert open_repository(str(folder)).head() == stage.shas[0]


def test_many_texts_are_read_at_once(stage: GitStage) -> None:
    files: dict[str, str | bytes] = {"a b.txt": "one\n", "ü.txt": "\n", "b.bin": b"\0", "c.txt": "blob 3\n"}
    stage.commit("one", files)
    repository = open_repository(str(stage.folder))
    asked = ["c.txt", "gone.txt", "b.bin", "ü.txt", "a b.txt", "new\nline"]
    texts = [*repository.files(stage.shas[0], asked * 60)]
    assert texts == ["blob 3\n", "", "", "\n", "one\n"] * 60


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


@pytest.mark.parametrize(("before", "after"), [("\n" * 9000, "x = 1\n"), ("x\n" * 20_000, "x = 1\n" + "y\n" * 1400)])
def test_what_is_removed_from_a_file_is_bounded_too(stage: GitStage, before: str, after: str) -> None:
    stage.commit("one", {"a.py": before})
    stage.commit("two", {"a.py": after})
    repository = open_repository(str(stage.folder))
    diff = read_diff(repository, Span(stage.shas[0], stage.shas[1], ""))
    assert (len(diff.hunks), len(diff.left_out)) in {(1, 0), (0, 1)}
    assert [why for _, why in diff.left_out] == ([] if len(before) < 10_000 else ["20000 lines removed at once"])


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
