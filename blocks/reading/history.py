"""Commits of a repository, and which of them a run is about: those since the last one, else those of some days.

The page of a day must come out the same however often it is made, so the first commit of a day is written down in
`RANGES`, beside the pages, with the words for it and a digest of the source: of another repository nothing counts.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
    """What a run is about: everything that `tip` has and `base` has not.

    Attributes:
        note: how `base` was found. source: sha256 of the repository's name, by which its ranges are known.
    """

    base: str
    tip: str
    note: str
    source: str = ""


def span_of(repository: Repository, folder: Path, day: str, *, days: int) -> Span:
    """Since the commit that the last earlier run ended with, or the last `days` before the newest commit.

    Args:
        folder: where the agent writes. day: the run's; a second run of it covers what the first did, and what came in.
    """
    tip, kept, source = repository.head(), read_ranges(folder), hashlib.sha256(repository.source.encode()).hexdigest()
    ranges = {d: ends for d, ends in kept.items() if ends["source"] == source}
    if day in ranges and _leads_to(repository, ranges[day]["from"], tip):
        return Span(ranges[day]["from"], tip, ranges[day]["note"], source)
    earlier = [ranges[d]["to"] for d in sorted(ranges) if d < day]
    if earlier and _leads_to(repository, earlier[-1], tip):
        return Span(earlier[-1], tip, f"since `{earlier[-1][:10]}`, where the last run ended", source)
    why = ""
    if ranges:
        why = "; the history was rewritten, so the commit that the last run ended with is gone"
    elif kept:
        why = "; begun anew, as earlier runs read another repository"
    note = f"the last {days} days before the newest commit{why}"
    return Span(base_before(repository, tip, days=days), tip, note, source)


def ranges_text(folder: Path, day: str, span: Span) -> str:
    """`RANGES` with this run in it, to be written with the page."""
    ranges = {**read_ranges(folder), day: {"from": span.base, "to": span.tip, "note": span.note, "source": span.source}}
    return json.dumps({d: ranges[d] for d in sorted(ranges)[-KEPT_DAYS:]}, indent=1) + "\n"


def read_ranges(folder: Path) -> dict[str, dict[str, str]]:
    """Day -> first and last commit, the note on the first, and the source; what cannot be read was never written."""
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
    """The newest `MOST_COMMITS` of a span with what each changed, newest first."""
    limit = f"--max-count={MOST_COMMITS}"
    order = ("--topo-order", limit, "--no-commit-header", f"--format={FIELDS}")
    said = repository.git("rev-list", *order, *_ends(span), "--")
    fields = said.decode("utf-8", "replace").split("\0")[:-1]
    commits = [_commit(*fields[n : n + 6]) for n in range(0, len(fields), 6)]
    changes = changes_of(repository, [c.sha for c in commits if not c.is_merge])
    return [Commit(**{**vars(c), "changes": changes.get(c.sha, ())}) for c in commits]


def older_than(repository: Repository, commits: list[Commit], span: Span) -> int:
    """How many commits of the span are not among its newest, which were read."""
    if len(commits) < MOST_COMMITS:
        return 0
    return int(repository.git("rev-list", "--count", *_ends(span), "--")) - len(commits)


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


def _ends(span: Span) -> list[str]:
    return [span.tip, *([f"^{span.base}"] if span.base else [])]


def _are_ends(ends: object) -> bool:
    return (
        isinstance(ends, dict)
        and all(isinstance(ends.get(key), str) for key in ("from", "to", "note", "source"))
        and all(SHA.fullmatch(ends[key]) or (key == "from" and not ends[key]) for key in ("from", "to"))
    )
