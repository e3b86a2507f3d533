"""The one door to git: its command, read-only, bounded, and deaf to what a repository's own configuration would run.

Only plumbing is called (`rev-list`, `diff-tree`, `ls-tree`, `cat-file`), on objects; the working tree, the index and
every remote are left alone. What the bytes mean is for `history` and `diffs`.
"""

import os
import re
import subprocess
import tempfile
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from signal import SIGKILL

from blocks.reading.places import locate, unreadable
from governor.errors import BadInput, NotReady

GIT_SECONDS = 30.0
MAX_BYTES = 8 * 1024 * 1024
OBJECT = re.compile(rb"[0-9a-f]{40,64} (blob|tree|commit|tag) (\d+)")
BATCH = 100
MOST_NAME = 8192  # of a commit and a path, twice what Linux takes for a path
# Whatever a repository's configuration names as a program, and what would fetch or follow on its own. External diffs
# and textconv have no such key: `diffs` switches them off at each call. `-c` reaches git's own children too.
OVERRIDES = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.attributesFile=/dev/null",
    "core.quotePath=false",
    "log.showSignature=false",
    "gpg.program=false",
    "protocol.allow=never",
    "submodule.recurse=false",
    "maintenance.auto=false",
    "gc.auto=0",
    "i18n.logOutputEncoding=UTF-8",
)
SURROUNDINGS = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",  # git 2.44 and later; before, a fetch fails by the next two
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # stronger than any `protocol.*.allow` of the repository
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/nonexistent/grafts",
    "GIT_INDEX_FILE": "/nonexistent/index",  # with an index, a diff may read files of the working tree for objects
    "GIT_ASKPASS": "false",
    "SSH_ASKPASS": "false",
}


@dataclass(frozen=True)
class Repository:
    """A git repository that may be read. `source`: as its reader was told."""

    source: str
    folder: Path

    def git(self, *arguments: str | bytes, stdin: bytes = b"", cut: bool = False) -> bytes:
        """What a command of git's plumbing prints. `cut`: of more than `MAX_BYTES` the beginning is good enough.

        Raises:
            BadInput: git refuses, takes longer than `GIT_SECONDS`, or prints more than may be read.
            NotReady: there is no git.
        """
        said, error, code = _run(self.folder, arguments, stdin)
        if len(said) > MAX_BYTES:
            if cut:
                return said[:MAX_BYTES]
            raise unreadable(self.source, f"git prints more than {MAX_BYTES >> 20} MiB about it")
        if code != 0:
            raise refusal(self.source, error)
        return said

    def knows(self, *arguments: str) -> bool:
        """Whether a command that answers by its exit code says yes."""
        return _run(self.folder, arguments, b"")[2] == 0

    def head(self) -> str:
        """The commit that is checked out."""
        said, _, code = _run(self.folder, ("rev-parse", "--quiet", "--verify", "HEAD^{commit}"), b"")
        if code != 0:
            raise unreadable(self.source, "it has no commit yet")
        return said.decode().strip()

    def empty_tree(self) -> str:
        """The id of a tree without files, by this repository's hash."""
        return self.git("hash-object", "-t", "tree", "--stdin").decode().strip()

    def file(self, commit: str, path: str) -> str:
        """A file's text at a commit, '' where it has none by this name or is no text."""
        raw, _, code = _run(self.folder, ("cat-file", "blob", f"{commit}:{path}"), b"")
        return (
            "" if b"\0" in raw or (code != 0 and len(raw) <= MAX_BYTES) else raw[:MAX_BYTES].decode("utf-8", "replace")
        )

    def files(self, commit: str, paths: Iterable[str]) -> Iterator[str]:
        """The texts of many files at a commit, `BATCH` by one process; '' as `file` says, and past its `MAX_BYTES`."""
        one_line = (path for path in paths if "\n" not in path)
        while wanted := [*islice(one_line, BATCH)]:
            yield from self._batch(commit, wanted)

    def _batch(self, commit: str, wanted: list[str]) -> Iterator[str]:
        asked = "".join(f"{commit}:{path}\n" for path in wanted).encode("utf-8", "surrogateescape")
        said = self.git("cat-file", "--batch", stdin=asked, cut=True)
        at = 0
        for _ in wanted:
            head, _, _ = said[at : at + MOST_NAME].partition(b"\n")
            kind, size = _announced(head)
            begin = at + len(head) + 1
            raw = said[begin : begin + size]
            yield "" if kind != b"blob" or b"\0" in raw else raw.decode("utf-8", "replace")
            at = begin + size + 1 if kind else begin

    def paths(self, commit: str) -> list[str]:
        """Every file at a commit."""
        listed = self.git("ls-tree", "-r", "-z", "--name-only", commit)
        return [name.decode("utf-8", "surrogateescape") for name in listed.split(b"\0") if name]


def _announced(head: bytes) -> tuple[bytes, int]:
    """Kind and size of what follows a line of `cat-file --batch`; no kind where it says that there is nothing."""
    found = OBJECT.fullmatch(head)
    return (found[1], int(found[2])) if found else (b"", 0)


def open_repository(source: str) -> Repository:
    """The repository whose folder `source` is; one further up does not count.

    Raises:
        BadInput: there is none, it is another user's, or its objects lie elsewhere.
        NotReady: there is no git.
    """
    folder = locate(source)
    if not folder.is_dir():
        raise unreadable(source, "it is no folder")
    repository = Repository(source, folder.resolve())
    said = repository.git("rev-parse", "--absolute-git-dir", "--git-common-dir").split(b"\n")
    store = Path(os.fsdecode(said[0]))
    common = repository.folder / os.fsdecode(said[1])
    for place in {store, common}:
        if not _is_inside(place, repository.folder):
            why = "its objects lie outside of it (a worktree, a submodule, a link); name the repository that has them"
            raise unreadable(source, why)
        if (place / "objects/info/alternates").exists() or (place / "objects/info/http-alternates").exists():
            raise unreadable(source, "it borrows objects of another repository; `git repack -a -d` makes it whole")
    return repository


def _is_inside(store: Path, top: Path) -> bool:
    """Whether a store of git lies in the folder, and none of its folders of objects and packs is a link elsewhere."""
    objects = store / "objects"
    places = [store, objects, *(path for folder in (objects, objects / "pack") for path in _entries(folder))]
    return all(place.resolve().is_relative_to(top) for place in places if place == store or place.is_symlink())


def _entries(folder: Path) -> list[Path]:
    try:
        return [*folder.iterdir()]
    except OSError:
        return []


def refusal(source: str, error: str) -> BadInput:
    """What git's own words on why it refuses mean for whoever set the source."""
    if "dubious ownership" in error or "unsafe repository" in error:
        return unreadable(source, "the repository belongs to another user; clone it into a folder of your own")
    if "not a git repository" in error:
        return unreadable(source, "it is no git repository")
    return unreadable(source, f"git says: {shown(error.strip())[:200] or 'nothing'}")


def shown(name: str) -> str:
    """A name of outside as it may be shown: one line, no control or direction marks, no broken characters."""
    clean = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join("\ufffd" if unicodedata.category(mark) in {"Cc", "Cf", "Zl", "Zp"} else mark for mark in clean)


def _run(folder: Path, arguments: tuple[str | bytes, ...], stdin: bytes) -> tuple[bytes, str, int]:
    """Output (a byte more than `MAX_BYTES` where there is more), error text, exit code."""
    command = ["git", "--no-pager", "--literal-pathspecs", *(part for o in OVERRIDES for part in ("-c", o)), *arguments]
    surroundings = {
        **SURROUNDINGS,
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=surroundings, stdin=given, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise NotReady(
                f"git cannot be started: {error}.", remedy="Install git, then run the agent again."
            ) from error
        said, code = _bounded(process)
        errors.seek(0)
        words = f"it took longer than {GIT_SECONDS:.0f} s" if code == -SIGKILL and len(said) <= MAX_BYTES else ""
        return said, words or errors.read(4000).decode("utf-8", "replace"), code


def _bounded(process: subprocess.Popen[bytes]) -> tuple[bytes, int]:
    """What a process prints within the bounds of size and time; past one of them it is killed."""
    late = threading.Timer(GIT_SECONDS, process.kill)
    late.start()
    try:
        with process:
            said = process.stdout.read(MAX_BYTES + 1) if process.stdout else b""
            if len(said) > MAX_BYTES:
                process.kill()
        return said, process.returncode
    finally:
        late.cancel()
