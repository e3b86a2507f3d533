"""Commits of a repository, and which of them a run is about: those since the last one, else those of some days.

The page of a day must come out the same however often it is made, so the first commit of a day is written down in
`RANGES`, beside the pages.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blocks.reading.places import unreadable
from blocks.reading.repository import Repository, shown

RANGES = "ranges.json"
KEPT_DAYS = 14
MOST_COMMITS = 500
SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
FIELDS = "%H%x00%P%x00%an%x00%ct%x00%s%x00%b%x00"
MOST_SUBJECT = 200


@dataclass(frozen=True)
class Change:
    """What a commit did to one file; a binary file has no lines."""

    path: str
    insertions: int
    deletions: int
    binary: bool = False


@dataclass(frozen=True)
class Commit:
    """One commit. `at`: when it was committed. `changes`: none for a merge."""

    sha: str
    parents: tuple[str, ...]
    author: str
    at: datetime
    subject: str
    body: str
    changes: tuple[Change, ...] = ()

    @property
    def short(self) -> str:
        """As it is named in pages."""
        return self.sha[:10]

    @property
    def is_merge(self) -> bool:
        """Whether it joins two lines of work and adds nothing of its own."""
        return len(self.parents) > 1

    @property
    def lines(self) -> tuple[int, int]:
        """Lines added and removed."""
        return sum(c.insertions for c in self.changes), sum(c.deletions for c in self.changes)


@dataclass(frozen=True)
class Span:
    """What a run is about: everything that `tip` has and `base` has not. `note`: how `base` was found."""

    base: str
    tip: str
    note: str


def span_of(repository: Repository, folder: Path, day: str, *, days: int) -> Span:
    """Since the commit that the last earlier run ended with, or the last `days` before the newest commit.

    Args:
        folder: where the agent writes. day: the run's; a second run of it covers what the first did, and what came in.
    """
    tip, ranges = repository.head(), read_ranges(folder)
    earlier = [ranges[d]["to"] for d in sorted(ranges) if d < day]
    wanted = ranges[day]["from"] if day in ranges else earlier[-1] if earlier else None
    if wanted is not None and _leads_to(repository, wanted, tip):
        since = f"since `{wanted[:10]}`, where the last run ended" if day not in ranges else _today(wanted)
        return Span(wanted, tip, since)
    gone = " The history was rewritten: the commit that the last run ended with is gone." if wanted else ""
    return Span(base_before(repository, tip, days=days), tip, f"the last {days} days before the newest commit.{gone}")


def ranges_text(folder: Path, day: str, span: Span) -> str:
    """`RANGES` with this run in it, to be written with the page."""
    ranges = {**read_ranges(folder), day: {"from": span.base, "to": span.tip}}
    return json.dumps({d: ranges[d] for d in sorted(ranges)[-KEPT_DAYS:]}, indent=1) + "\n"


def read_ranges(folder: Path) -> dict[str, dict[str, str]]:
    """Day -> first and last commit; what cannot be read counts as never written."""
    try:
        found = json.loads((folder / RANGES).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, Mapping):
        return {}
    return {day: dict(ends) for day, ends in found.items() if _are_ends(ends)}


def base_before(repository: Repository, tip: str, *, days: int) -> str:
    """The newest commit on the main line that is older than `days` before `tip`; '' where none is that old."""
    listed = repository.git("rev-list", "--first-parent", "--format=%H %ct", "--no-commit-header", tip, "--")
    commits = [line.split() for line in listed.decode().splitlines()]
    edge = int(commits[0][1]) - int(timedelta(days=days).total_seconds())
    return next((sha for sha, at in commits if int(at) < edge), "")


def commits_of(repository: Repository, span: Span) -> list[Commit]:
    """The commits of a span with what each changed, newest first.

    Raises:
        BadInput: there are more than `MOST_COMMITS`.
    """
    ends = [span.tip, *([f"^{span.base}"] if span.base else [])]
    limit = f"--max-count={MOST_COMMITS + 1}"
    said = repository.git("rev-list", "--topo-order", limit, "--no-commit-header", f"--format={FIELDS}", *ends, "--")
    fields = said.decode("utf-8", "replace").split("\0")[:-1]
    commits = [_commit(*fields[n : n + 6]) for n in range(0, len(fields), 6)]
    if len(commits) > MOST_COMMITS:
        why = f"more than {MOST_COMMITS} commits since then; lower `days`"
        raise unreadable(repository.source, why)
    changes = changes_of(repository, [c.sha for c in commits if not c.is_merge])
    return [Commit(**{**vars(c), "changes": changes.get(c.sha, ())}) for c in commits]


def changes_of(repository: Repository, shas: list[str]) -> dict[str, tuple[Change, ...]]:
    """What each commit did to which file; a renamed file counts under its new name."""
    if not shas:
        return {}
    said = repository.git(
        *("diff-tree", "--stdin", "--root", "-r", "-z", "--numstat", "-M", "--no-ext-diff", "--no-textconv"),
        *("--ignore-submodules=all",),
        stdin="".join(f"{sha}\n" for sha in shas).encode(),
    )
    found: dict[str, list[Change]] = {}
    parts = iter(said.decode("utf-8", "replace").split("\0"))
    sha = ""
    for part in parts:
        if SHA.fullmatch(part.strip()):
            sha = part.strip()
        elif part.count("\t") >= 2:
            added, removed, path = part.lstrip("\n").split("\t", 2)
            if not path:  # renamed: the old and the new name follow
                _, path = next(parts), next(parts)
            found.setdefault(sha, []).append(_change(added, removed, path))
    return {sha: tuple(changes) for sha, changes in found.items()}


def _change(added: str, removed: str, path: str) -> Change:
    binary = added == "-"
    return Change(shown(path), 0 if binary else int(added), 0 if binary else int(removed), binary)


def _commit(sha: str, parents: str, author: str, at: str, subject: str, body: str) -> Commit:
    try:
        moment = datetime.fromtimestamp(int(at or 0), UTC)
    except (ValueError, OverflowError, OSError):  # a date of the year 200,000
        moment = datetime.fromtimestamp(0, UTC)
    named = shown(" ".join(author.split()))[:80] or "nobody"
    said = shown(" ".join(subject.split()))[:MOST_SUBJECT] or "(no subject)"
    return Commit(sha.strip(), tuple(parents.split()), named, moment, said, body[:2000])


def _leads_to(repository: Repository, sha: str, tip: str) -> bool:
    """Whether `tip` was built on it; '' is the beginning of everything."""
    if not sha:
        return True
    exists = repository.knows("cat-file", "-e", f"{sha}^{{commit}}")
    return exists and repository.knows("merge-base", "--is-ancestor", sha, tip)


def _today(base: str) -> str:
    return f"since `{base[:10]}`, where today's first run began" if base else "everything there is"


def _are_ends(ends: object) -> bool:
    return isinstance(ends, dict) and all(
        isinstance(ends.get(key), str) and (SHA.fullmatch(ends[key]) or (key == "from" and not ends[key]))
        for key in ("from", "to")
    )
