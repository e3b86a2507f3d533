"""Small repositories for tests: real git, fixed names and dates, nothing of the user's own configuration."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

BEGIN = 1_795_000_000  # 2026-11-18, in seconds
SURROUNDINGS = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "PATH": os.environ.get("PATH", "")}


@dataclass
class GitStage:
    """A repository in a folder of a test. Each commit is an hour after the one before; files lie in the folder, too."""

    folder: Path
    shas: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "--initial-branch=main", "--template=", ".")

    def git(self, *arguments: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=SURROUNDINGS, input=stdin, capture_output=True, check=True
        )
        return done.stdout.decode(errors="replace").strip()

    def commit(
        self,
        message: str | bytes,
        files: dict[str, str | bytes] | None = None,
        *,
        by: str = "Ada",
        at: int | None = None,
        since: str = "",
        merge: str = "",
    ) -> str:
        """A commit with these files, its sha. `since`: its parent, the newest one by default."""
        moment = at if at is not None else BEGIN + len(self.shas) * 3600
        parent = since or (self.shas[-1] if self.shas else "")
        who = f"{by} <x@x.example> {moment} +0000".encode()
        parts = [b"commit refs/heads/main\nauthor %s\ncommitter %s\n" % (who, who), _data(message)]
        parts += [f"from {parent}\n".encode()] if parent else []
        parts += [f"merge {merge}\n".encode()] if merge else []
        for name, data in (files or {}).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
            parts += [b"M 100644 inline " + _quoted(name) + b"\n", _data(data)]
        self.git("fast-import", "--quiet", "--force", stdin=b"".join(parts))
        self.shas.append((self.folder / ".git/refs/heads/main").read_text().strip())
        return self.shas[-1]

    def special(self, name: str, mode: str, target: str) -> str:
        """A commit with a link (120000, to `target`) or a submodule (160000, at the commit `target`)."""
        inline = f"M {mode} inline {name}\n".encode() + _data(target)
        change = f"M {mode} {target} {name}\n".encode() if mode == "160000" else inline
        parent = f"from {self.shas[-1]}\n".encode() if self.shas else b""
        head = f"commit refs/heads/main\ncommitter Ada <x@x.example> {BEGIN} +0000\n".encode()
        self.git("fast-import", "--quiet", "--force", stdin=head + _data(name) + parent + change)
        self.shas.append((self.folder / ".git/refs/heads/main").read_text().strip())
        return self.shas[-1]


def _data(text: str | bytes) -> bytes:
    data = text if isinstance(text, bytes) else text.encode()
    return b"data %d\n%s\n" % (len(data), data)


def _quoted(name: str) -> bytes:
    """A path as fast-import reads it, whatever stands in it."""
    return b'"' + name.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
