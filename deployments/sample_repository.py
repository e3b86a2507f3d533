"""The sample repository: made from a recipe of commits, with the same ids on every machine.

The recipe is `flows/samples/repository_recipe/*.yaml`, oldest commit first. Of a commit:
    by: who; says: its subject; body: more of its message; branch: the one it is made on (the main one by default)
    write, append: path -> text; replace: path -> [text that stands there once, other text]; rename: path -> path
    binary: path -> base64; generate: path -> how many lines; merge: the branch that comes in
Dates are counted from the recipe's order, so nothing depends on a clock.
"""

import base64
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from blocks.reading.places import CHECKOUT
from blocks.reading.repository import SURROUNDINGS
from governor.errors import NotReady

RECIPE = CHECKOUT / "flows/samples/repository_recipe"
BRANCH = "main"
BEGIN, END = datetime(2026, 10, 9, 7, 5, tzinfo=UTC), datetime(2026, 11, 20, 16, 40, tzinfo=UTC)
WORKDAY = timedelta(hours=9, minutes=30)
GIT_SECONDS = 60
AUTHORS = {
    "mira": "Mira Vance <mira@house.example>",
    "tomas": "Tomás Iriarte <tomas@house.example>",
    "anneke": "Anneke de Groot <anneke@house.example>",
    "jorn": "Jörn Falk <jorn@house.example>",
}


@dataclass
class _Branch:
    """Where a line of work is: its newest commit's mark, and its files."""

    mark: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    since: dict[str, bytes] = field(default_factory=dict)


def make_repository(folder: Path) -> None:
    """Make the repository at `folder`, which must not exist yet, with its newest state checked out.

    Raises:
        NotReady: git cannot be started, or fails. ValueError: the recipe does not fit together.
    """
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--object-format=sha1", f"--initial-branch={BRANCH}", "--template=", ".")
    _git(folder, "fast-import", "--quiet", "--done", stdin=stream_of(read_recipe()))
    _git(folder, "reset", "--quiet", "--hard", BRANCH)


def read_recipe() -> list[dict[str, Any]]:
    """Every commit of the recipe, oldest first."""
    files = sorted(RECIPE.glob("*.yaml"))
    return [commit for path in files for commit in yaml.safe_load(path.read_text(encoding="utf-8"))]


def stream_of(recipe: list[dict[str, Any]]) -> bytes:
    """The recipe as git's fast-import reads it."""
    branches = {BRANCH: _Branch()}
    times = _times(len(recipe))
    parts: list[bytes] = []
    for mark, (commit, at) in enumerate(zip(recipe, times, strict=True), start=1):
        name = commit.get("branch", BRANCH)
        main = branches[BRANCH]
        branch = branches.setdefault(name, _Branch(main.mark, dict(main.files), dict(main.files)))
        before = dict(branch.files)
        merged = branches.pop(commit["merge"]) if "merge" in commit else None
        if merged is not None:
            branch.files |= {path: data for path, data in merged.files.items() if merged.since.get(path) != data}
        _apply(commit, branch.files)
        message = "\n\n".join(filter(None, (commit["says"], commit.get("body", ""))))
        who = f"{AUTHORS[commit['by']]} {int(at.timestamp())} +0100"
        parts.append(f"commit refs/heads/{name}\nmark :{mark}\nauthor {who}\ncommitter {who}\n".encode())
        parts.append(_data(message.encode()))
        parts.append(f"from :{branch.mark}\n".encode() if branch.mark else b"")
        parts.append(f"merge :{merged.mark}\n".encode() if merged is not None else b"")
        parts += _differences(before, branch.files)
        branch.mark = mark
    gone = sorted({commit["merge"] for commit in recipe if "merge" in commit})
    parts += [f"reset refs/heads/{name}\nfrom {'0' * 40}\n\n".encode() for name in gone]
    return b"".join([*parts, b"done\n"])


def _apply(commit: Mapping[str, Any], files: dict[str, bytes]) -> None:
    """What a commit does to the files of its branch."""
    for path, text in commit.get("write", {}).items():
        files[path] = text.encode()
    for path, (old, new) in commit.get("replace", {}).items():
        if files[path].count(old.encode()) != 1:
            raise ValueError(f"{commit['says']}: {old!r} stands {files[path].count(old.encode())} times in {path}")
        files[path] = files[path].replace(old.encode(), new.encode())
    for path, text in commit.get("append", {}).items():
        files[path] += text.encode()
    for path, new_path in commit.get("rename", {}).items():
        files[new_path] = files.pop(path)
    for path, data in commit.get("binary", {}).items():
        files[path] = base64.b64decode(data)
    for path, count in commit.get("generate", {}).items():
        rows = [f' "Zone/{n:05d}": {{"minutes": {(n * 37) % 1440 - 720}, "summer": {n % 3}}}' for n in range(count)]
        files[path] = ("{\n" + ",\n".join(rows) + "\n}\n").encode()


def _differences(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[bytes]:
    """What makes one state of the files the other."""
    gone = [f"D {path}\n".encode() for path in sorted(before.keys() - after.keys())]
    changed = [path for path in sorted(after) if before.get(path) != after[path]]
    return gone + [f"M 100644 inline {path}\n".encode() + _data(after[path]) for path in changed]


def _data(data: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(data), data)


def _times(count: int) -> list[datetime]:
    """Moments of work on the weekdays between `BEGIN` and `END`, evenly, with the unevenness of people."""
    days = [BEGIN + timedelta(days=n) for n in range((END - BEGIN).days + 1)]
    days = [day for day in days if day.weekday() < 5]
    times = []
    for n in range(count):
        place = n * len(days) / count
        minutes = (place % 1) * WORKDAY.total_seconds() / 60 + (n * 7919) % 11
        times.append(days[int(place)] + timedelta(minutes=int(minutes)))
    return [*times[:-1], END]


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> None:
    """One step of making it; the user's own configuration of git has no part in it."""
    surroundings = {**SURROUNDINGS, "PATH": os.environ.get("PATH", os.defpath)}
    del surroundings["GIT_INDEX_FILE"]  # this one is written, so it has an index of its own
    try:
        subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", *arguments],
            cwd=folder, env=surroundings, input=stdin, check=True, capture_output=True, timeout=GIT_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", b"") or b""
        raise NotReady(
            f"The sample repository cannot be made: {error} {words.decode(errors='replace')[:300]}".rstrip() + ".",
            remedy="Install git 2.39 or newer, then run `hotdesk up` again.",
        ) from error
