"""The difference between two commits as hunks with line numbers, at most so much of it, and what was left out.

git has no other form of a hunk than the unified diff; only its hunk headers and the first mark of a line are read here.
File names come from git's raw listing, so no name can be mistaken for a line.
"""

import re
from dataclasses import dataclass

from blocks.reading.history import Span
from blocks.reading.repository import Repository, shown

HUNK = re.compile(rb"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@ ?(.*)")
# A change of more lines in one file is generated or moved, and nobody reviews it line by line.
MOST_LINES, MOST_REMOVED, MOST_FILES, MOST_LINE = 1500, 10_000, 200, 400
OPTIONS = (
    *("-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all", "--diff-filter=AMR"),
    "--diff-algorithm=myers",
)


@dataclass(frozen=True)
class Line:
    """A line of a hunk. `number`: in the new file; None where it was removed."""

    mark: str
    number: int | None
    text: str


@dataclass(frozen=True)
class Hunk:
    """A piece of a file that changed. `inside`: what git takes for the function around it."""

    path: str
    inside: str
    lines: tuple[Line, ...]

    @property
    def added(self) -> tuple[Line, ...]:
        """What is new in it."""
        return tuple(line for line in self.lines if line.mark == "+")


@dataclass(frozen=True)
class Diff:
    """Hunks by file and line, and the files that are not in them, each with the reason."""

    hunks: tuple[Hunk, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def read_diff(repository: Repository, span: Span) -> Diff:
    """What changed between the ends of a span in text files."""
    base = span.base or repository.empty_tree()
    chosen, left_out = _chosen(repository, base, span.tip)
    if not chosen:
        return Diff((), tuple(left_out))
    said = repository.git("diff-tree", *OPTIONS, "-z", "--raw", "-p", "-U3", base, span.tip, "--", *chosen, cut=True)
    listing, _, patch = said.partition(b"\0\0")
    names = _names(listing)
    sections = _sections(patch)
    hunks = [hunk for name, lines in zip(names, sections, strict=False) for hunk in _hunks(_plain(name), lines)]
    left_out += [(_plain(name), "past the bound on size") for name in names[len(sections) :]]
    return Diff(tuple(hunks), tuple(sorted(left_out)))


def _chosen(repository: Repository, base: str, tip: str) -> tuple[list[bytes], list[tuple[str, str]]]:
    """The files whose changes are worth reading, and the others with the reason."""
    chosen: list[bytes] = []
    left_out: list[tuple[str, str]] = []
    parts = iter(repository.git("diff-tree", *OPTIONS, "-z", "--numstat", base, tip).split(b"\0"))
    for part in parts:
        if part.count(b"\t") < 2:
            continue
        added, removed, path = part.split(b"\t", 2)
        names = [path] if path else [next(parts), next(parts)]
        if added == b"-":
            left_out.append((_plain(names[-1]), "no text, or marked as none"))
        elif int(added) > MOST_LINES:
            left_out.append((_plain(names[-1]), f"{int(added)} new lines at once"))
        elif int(removed) > MOST_REMOVED:
            left_out.append((_plain(names[-1]), f"{int(removed)} lines removed at once"))
        elif len(chosen) >= MOST_FILES:
            left_out.append((_plain(names[-1]), f"more than {MOST_FILES} files"))
        else:
            chosen += names  # of a renamed file both, or git would call the new one added
    return chosen, left_out


def _names(listing: bytes) -> list[bytes]:
    """The new name of each file of git's raw listing, in its order."""
    parts, names = iter(listing.split(b"\0")), []
    for part in parts:
        if part.startswith(b":"):
            renamed = part.split(b" ")[-1][:1] in {b"R", b"C"}
            names.append([next(parts), next(parts)][-1] if renamed else next(parts))
    return names


def _sections(patch: bytes) -> list[list[bytes]]:
    """The lines of each file of a patch; in a hunk no line begins with a letter, so none looks like a new file."""
    sections: list[list[bytes]] = []
    for line in patch.split(b"\n"):
        if line.startswith(b"diff --git "):
            sections.append([])
        elif sections:
            sections[-1].append(line)
    return sections


def _hunks(path: str, lines: list[bytes]) -> list[Hunk]:
    hunks: list[tuple[str, list[Line]]] = []
    number = 0
    for line in lines:
        if head := HUNK.match(line):
            number = int(head[3])
            hunks.append((_plain(head[5])[:120], []))
        elif hunks and line[:1] in {b" ", b"+", b"-"}:
            removed = line[:1] == b"-"
            text = line[1:].rstrip(b"\r").decode("utf-8", "replace")[:MOST_LINE]
            hunks[-1][1].append(Line(line[:1].decode(), None if removed else number, text))
            number += not removed
    return [Hunk(path, inside, tuple(kept)) for inside, kept in hunks]


def _plain(name: bytes) -> str:
    return shown(name.decode("utf-8", "replace"))
