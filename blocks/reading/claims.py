"""What documents claim about a program, and where the program says it: options, settings, files, functions, versions.

Only what code can look up is a claim: a name that stands in a document and could stand in the code. The line of the
document and the line of the code are quoted as they stand; who agrees with whom is for `checking.drift`.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from blocks.reading.places import files_in, locate, read_file, text_of, unreadable

DOCUMENTS = frozenset({".md", ".rst", ".txt"})
SCRIPTS = frozenset({".py", ".sh", ".js", ".ts", ".go", ".rs", ".java", ".rb", ".c", ".h"})
CODE = SCRIPTS | {".toml", ".yaml", ".yml", ".ini", ".cfg"}
MOST_LINE = 300
MOST_FOLDERS = 5000
# Longer names are not looked for among like ones; difflib's time grows with the square of the length.
MOST_CLAIMS, MOST_NAME = 3000, 60
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
SETTING = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
FUNCTION = re.compile(r"(?<=`)([A-Za-z_]\w*)\(\)(?=`)")
FILE = re.compile(r"(?<![\w/.])(?:[\w.-]+/)+[\w.-]+\.[a-z]{1,5}\b(?!\w)", re.UNICODE)
VERSION = re.compile(r"\b(Python|[Vv]ersion) (\d+(?:\.\d+)+)")
DEFINED = re.compile(r"\b(?:def|class|func|function|fn)\s+(\w+)")
# Where a project says its own version and the Python it needs (PEP 621).
VERSION_KEYS = {"version": re.compile(r"^version\s*="), "python": re.compile(r"^requires-python\s*=")}


@dataclass(frozen=True)
class Quote:
    """A line as it stands in a file. `path`: from the top of its source."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Claim:
    """A name in a document. `kind`: option, setting, function, file or version."""

    kind: str
    name: str
    said: Quote


@dataclass(frozen=True)
class Program:
    """The names of all files, and where in the code each option, setting, function and version stands."""

    files: frozenset[str]
    places: Mapping[tuple[str, str], tuple[Quote, ...]]
    near: dict[tuple[str, str], Quote | None] = field(default_factory=dict)

    def where(self, claim: Claim) -> tuple[Quote, ...]:
        """The lines of the code that have the claim's name."""
        return self.places.get((claim.kind, claim.name.lower() if claim.kind == "version" else claim.name), ())

    def nearest(self, claim: Claim) -> Quote | None:
        """The line of the name most like one that the code has not: perhaps it was renamed."""
        key = (claim.kind, claim.name[:MOST_NAME])
        if key not in self.near:
            names = sorted(name for kind, name in self.places if kind == claim.kind and len(name) <= MOST_NAME)
            close = sorted(n for n in names if claim.kind == "option" and _overlaps(n, key[1]))[:1]
            close = close or get_close_matches(key[1], names, n=1, cutoff=0.6)
            self.near[key] = self.places[claim.kind, close[0]][0] if close else None
        return self.near[key]


def read_claims(source: str, *, max_files: int = 200) -> list[Claim]:
    """The claims of all documents of a folder, in their order.

    Raises:
        BadInput: unreadable, without documents, or with more than `MOST_CLAIMS`.
    """
    claims: list[Claim] = []
    found = False
    for name, lines in _files(source, DOCUMENTS, max_files):
        found = True
        for number, line in enumerate(lines, start=1):
            quote = Quote(name, number, line)
            claims += [Claim(kind, what, quote) for kind, what in _names(line)]
            if len(claims) > MOST_CLAIMS:
                raise unreadable(source, f"it makes more than {MOST_CLAIMS} claims; name a smaller folder")
    if not found:
        raise unreadable(source, "it holds no .md, .rst or .txt document")
    return list(dict.fromkeys(claims))


def read_program(source: str, *, max_files: int = 500) -> Program:
    """The code of a folder, as far as documents make claims about it.

    Raises:
        BadInput: unreadable, or without code.
    """
    places: dict[tuple[str, str], list[Quote]] = {}
    for name, lines in _files(source, CODE, max_files):
        for number, line in enumerate(lines, start=1):
            quote = Quote(name, number, line)
            for key in _defined(line):
                places.setdefault(key, []).append(quote)
    if not places:
        raise unreadable(source, "it holds no code that documents could be about")
    return Program(frozenset(_every_file(source)), {key: tuple(quotes) for key, quotes in places.items()})


def _files(source: str, suffixes: frozenset[str], max_files: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Files by their name from the top of the source, as lines of bounded length."""
    top = locate(source)
    for path in files_in(source, suffixes, max_files=max_files):
        name = path.relative_to(top).as_posix() if path != top else path.name
        yield name, [line.rstrip()[:MOST_LINE] for line in text_of(read_file(path)).splitlines()]


def _every_file(source: str) -> Iterator[str]:
    """Every file by its path from the top, documents too, hidden ones not."""
    top = locate(source)
    for folder, names, files in islice(os.walk(top), MOST_FOLDERS):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from ((Path(folder) / file).relative_to(top).as_posix() for file in files)


def _names(line: str) -> Iterator[tuple[str, str]]:
    """Kind and name of what a line of a document claims."""
    yield from (("option", name) for name in OPTION.findall(line))
    yield from (("setting", name) for name in SETTING.findall(line))
    yield from (("function", name) for name in FUNCTION.findall(line))
    yield from (("file", name) for name in FILE.findall(line) if "://" not in line.partition(name)[0][-12:])
    yield from (("version", "python" if word == "Python" else "version") for word, _ in VERSION.findall(line))


def _defined(line: str) -> Iterator[tuple[str, str]]:
    """The same for a line of code."""
    yield from (("option", name) for name in OPTION.findall(line))
    yield from (("setting", name) for name in SETTING.findall(line))
    yield from (("function", name) for name in DEFINED.findall(line))
    yield from (("version", key) for key, pattern in VERSION_KEYS.items() if pattern.match(line))


def _overlaps(one: str, other: str) -> bool:
    """Whether two options share a word: `--min-seats` and `--seats`."""
    return not set(one.strip("-").split("-")).isdisjoint(other.strip("-").split("-"))
