"""Commits sorted into groups by what stands in them: who, which part, which kind of change. Pure; no model is asked."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from blocks.reading.history import Commit

# `type(scope)!: what`, as in Conventional Commits 1.0; a word alone before the colon names a part.
PREFIX = re.compile(r"^(?P<type>[\w.-]{1,24})(?:\((?P<scope>[^)]{1,24})\))?(?P<breaks>!)?:\s")
VERSION = re.compile(r"^v?\d+(\.\d+)+$")
# Headings as in Keep a Changelog 1.1; what no user sees has none.
ADDED, CHANGED, REMOVED, FIXED, SECURITY, INTERNAL = "Added", "Changed", "Removed", "Fixed", "Security", "Internal"
HEADINGS = (ADDED, CHANGED, REMOVED, FIXED, SECURITY, INTERNAL)
TYPES = {
    **dict.fromkeys(("feat", "feature"), ADDED),
    **dict.fromkeys(("fix", "bugfix", "hotfix", "revert"), FIXED),
    "perf": CHANGED,
    "security": SECURITY,
    **dict.fromkeys(("docs", "doc", "test", "tests", "chore", "ci", "build", "style", "refactor"), INTERNAL),
}
UNSEEN_FOLDERS = frozenset({"tests", "test", "docs", "doc", ".ci", ".github", ".gitlab"})
ELSEWHERE = "other files"


@dataclass(frozen=True)
class Group:
    """Commits that belong together."""

    name: str
    commits: tuple[Commit, ...]

    @property
    def lines(self) -> tuple[int, int]:
        """Lines added and removed by all of them."""
        return sum(c.lines[0] for c in self.commits), sum(c.lines[1] for c in self.commits)

    @property
    def files(self) -> int:
        """How many different files they changed."""
        return len({change.path for commit in self.commits for change in commit.changes})


def grouped(commits: Sequence[Commit], name_of: Callable[[Commit], str]) -> list[Group]:
    """Groups by name, the largest first, ties by name; commits keep their order."""
    groups: dict[str, list[Commit]] = {}
    for commit in commits:
        groups.setdefault(name_of(commit), []).append(commit)
    return [Group(n, tuple(cs)) for n, cs in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))]


def area_of(commit: Commit) -> str:
    """The part that a commit is about: its scope, the part before its colon, else where most of its lines lie."""
    said = PREFIX.match(commit.subject)
    if said and said["scope"]:
        return said["scope"].lower()
    if said and said["type"].lower() not in TYPES:
        return said["type"].lower()
    lines: Counter[str] = Counter()
    for change in commit.changes:
        path = PurePosixPath(change.path)
        lines[path.parts[0] if len(path.parts) > 1 else ELSEWHERE] += change.insertions + change.deletions + 1
    return min(lines, key=lambda name: (-lines[name], name), default=ELSEWHERE)


def heading_of(commit: Commit) -> str | None:
    """The heading of a changelog that a commit itself says, None where it does not say."""
    said = PREFIX.match(commit.subject)
    if said and said["type"].lower() in TYPES:
        return TYPES[said["type"].lower()]
    if VERSION.match(commit.subject):
        return INTERNAL
    paths = [PurePosixPath(change.path) for change in commit.changes]
    unseen = [path.parts[0] in UNSEEN_FOLDERS or path.suffix in {".md", ".rst"} for path in paths]
    return INTERNAL if unseen and all(unseen) else None


def is_breaking(commit: Commit) -> bool:
    """Whether its author says that it breaks something."""
    said = PREFIX.match(commit.subject)
    return bool(said and said["breaks"]) or "BREAKING CHANGE:" in commit.body
