"""Small repositories for tests: real git, fixed names and dates, nothing of the user's own configuration.

Commits are told first and made all at once, by one process, when somebody looks at the folder or at the ids.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

BEGIN = 1_795_000_000  # 2026-11-18, in seconds
SURROUNDINGS = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": os.environ.get("PATH", "")}


@dataclass
class GitStage:
    """A repository in a folder of a test. Each commit is an hour after the one before; files lie in the folder, too.

    Attributes:
        loose: its objects are files of their own, not one pack.
    """

    at: Path
    loose: bool = False
    _pending: list[bytes] = field(default_factory=list)
    _shas: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("objects", "refs/heads"):
            (self.at / ".git" / name).mkdir(parents=True)
        (self.at / ".git/HEAD").write_text("ref: refs/heads/main\n")
        (self.at / ".git/config").write_text("[core]\nrepositoryformatversion = 0\nbare = false\n")

    @property
    def folder(self) -> Path:
        """Where it lies, with all its commits."""
        self._make()
        return self.at

    @property
    def shas(self) -> list[str]:
        """The ids of its commits, as they were told."""
        self._make()
        return self._shas

    def copy(self, to: Path) -> "GitStage":
        """Another one with the same commits, to go on from."""
        shutil.copytree(self.folder, to)
        made = object.__new__(GitStage)
        made.at, made.loose, made._pending, made._shas = to, self.loose, [], [*self._shas]
        return made

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=self.at, env=SURROUNDINGS, input=stdin, capture_output=True, check=True)
        return done.stdout.decode(errors="replace").strip()

    def commit(
        self,
        message: str | bytes,
        files: dict[str, str | bytes] | None = None,
        *,
        by: str = "Ada",
        at: int | None = None,
        since: int | None = None,
        merge: int | None = None,
    ) -> None:
        """A commit with these files. `since`, `merge`: numbers of its parents, the one before it by default."""
        moment = at if at is not None else BEGIN + self._told * 3600
        who = f"{by} <x@x.example> {moment} +0000".encode()
        parts = [b"author %s\ncommitter %s\n" % (who, who), _data(message), self._parent(since)]
        parts += [f"merge {self._named(merge)}\n".encode()] if merge is not None else []
        for name, data in (files or {}).items():
            path = self.at / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
            parts += [b"M 100644 inline " + _quoted(name) + b"\n", _data(data)]
        self._tell(parts)

    def special(self, name: str, mode: str, target: str) -> None:
        """A commit with a link (120000, to `target`) or a submodule (160000, at the commit `target`)."""
        inline = f"M {mode} inline {name}\n".encode() + _data(target)
        change = f"M {mode} {target} {name}\n".encode() if mode == "160000" else inline
        self._tell([f"committer Ada <x@x.example> {BEGIN} +0000\n".encode(), _data(name), self._parent(None), change])

    @property
    def _told(self) -> int:
        return len(self._shas) + len(self._pending)

    def _tell(self, parts: list[bytes]) -> None:
        self._pending.append(b"commit refs/heads/main\nmark :%d\n" % (self._told + 1) + b"".join(parts))

    def _parent(self, since: int | None) -> bytes:
        number = self._told - 1 if since is None else since
        return f"from {self._named(number)}\n".encode() if number >= 0 else b""

    def _named(self, number: int) -> str:
        return self._shas[number] if number < len(self._shas) else f":{number + 1}"

    def _make(self) -> None:
        if not self._pending:
            return
        stream, self._pending = b"".join(self._pending), []
        unpack = "fastimport.unpackLimit=100" if self.loose else "fastimport.unpackLimit=1"
        self.git("-c", unpack, "fast-import", "--quiet", "--force", "--export-marks=.git/marks", stdin=stream)
        marks = dict(line.split() for line in (self.at / ".git/marks").read_text().splitlines())
        self._shas += [marks[mark] for mark in sorted(marks, key=lambda mark: int(mark[1:]))]


def _data(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return b"data %d\n%s\n" % (len(data), data)


def _quoted(name: str) -> bytes:
    """A path as fast-import reads it, whatever stands in it."""
    return b'"' + name.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
