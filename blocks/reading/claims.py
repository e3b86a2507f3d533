"""What documents claim about a program, and where the program says it: options, settings, files, functions, versions.

Only what code can look up is a claim: a name that stands in a document and could stand in the code. The line of the
document and the line of the code are quoted as they stand; who agrees with whom is for `checking.drift`.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from blocks.reading.places import MAX_BYTES, files_in, locate, name_below, read_file, text_of, unreadable
from governor.errors import BadInput

DOCUMENTS = frozenset({".md", ".rst", ".txt"})
# What is read first, in this order; of the rest everything that is no document and no binary, hidden files too.
CODE = (".py", ".sh", ".js", ".ts", ".go", ".rs", ".java", ".rb", ".c", ".h", ".toml", ".yaml", ".yml", ".ini", ".cfg")
# Of these DEFINED finds every function; elsewhere (methods, arrow functions) a name that stands there may be one.
SURELY_DEFINED = (".py", ".rb", ".rs")
# Kept by git and by package managers; documents are hardly about them, and nothing is said about their files.
NOT_LOOKED_AT = frozenset(
    {".git", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache", ".ruff_cache"}
)
MOST_LINE, MOST_DOCUMENTS = 300, 1000
MOST_NAMES, MOST_CODE_FILES, MOST_CODE_BYTES = 100_000, 2000, 32 << 20
# Longer names are not looked for among like ones; difflib's time grows with the square of the length.
MOST_CLAIMS, MOST_NAME = 3000, 60
BINARY_BYTES = 8000  # as git looks for a NUL
WORD = re.compile(r"\w+")
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
class Documents:
    """The texts of a source by their names. `sha256`: of all their bytes; `unread`: what of them was not read."""

    source: str
    texts: Mapping[str, str]
    sha256: str
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A name in a document. `kind`: option, setting, function, file or version."""

    kind: str
    name: str
    said: Quote


@dataclass(frozen=True)
class Program:
    """The names of all files, and where in the code each option, setting, function and version stands.

    Attributes:
        seen: of functions that documents name, where the word stands in a language whose definitions are not read.
        unread: files that were not looked at, or not to their end; of a name found nowhere nothing can be said then.
        sha256: of what was read, with the names of all files.
    """

    files: frozenset[str]
    places: Mapping[tuple[str, str], tuple[Quote, ...]]
    seen: Mapping[str, Quote] = field(default_factory=dict)
    unread: int = 0
    sha256: str = ""
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


def documents_of(source: str, *, max_bytes: int = MAX_BYTES) -> Documents:
    """The documents of a folder.

    Raises:
        BadInput: unreadable, or without documents.
    """
    top, paths = locate(source), files_in(source, DOCUMENTS, max_files=MOST_DOCUMENTS)
    if not paths:
        raise unreadable(source, "it holds no .md, .rst or .txt document")
    texts, digest = dict[str, str](), hashlib.sha256()
    cut = [f"what follows the first {MOST_DOCUMENTS} documents"] if len(paths) == MOST_DOCUMENTS else []
    for path in paths:
        name = name_below(top, path)
        raw = read_file(path, max_bytes=max_bytes + 1)
        cut += [f"the end of {name}"] if len(raw) > max_bytes else []
        texts[name] = text_of(raw[:max_bytes], is_cut=len(raw) > max_bytes)
        digest.update(b"%s\0%d\0%s" % (name.encode(), len(raw), raw))
    return Documents(source, texts, digest.hexdigest(), tuple(cut))


def read_claims(documents: Documents) -> list[Claim]:
    """The claims of documents, in their order.

    Raises:
        BadInput: more than `MOST_CLAIMS`.
    """
    claims: list[Claim] = []
    for name, text in documents.texts.items():
        for number, whole in enumerate(text.splitlines(), start=1):
            line = whole.rstrip()[:MOST_LINE]
            quote = Quote(name, number, line)
            claims += [Claim(kind, what, quote) for kind, what in _names(line)]
            if len(claims) > MOST_CLAIMS:
                raise unreadable(documents.source, f"it makes more than {MOST_CLAIMS} claims; name a smaller folder")
    return list(dict.fromkeys(claims))


def read_program(
    source: str, claims: Sequence[Claim], *, max_files: int = MOST_CODE_FILES, max_bytes: int = MAX_BYTES
) -> Program:
    """The code of a folder, as far as documents make claims about it.

    Raises:
        BadInput: unreadable, or without code.
    """
    places: dict[tuple[str, str], list[Quote]] = {}
    seen: dict[str, Quote] = {}
    functions = {claim.name for claim in claims if claim.kind == "function"}
    every = [*islice(_every_file(source), MOST_NAMES + 1)]
    unread, digest = 0, hashlib.sha256("\0".join(every).encode())
    for name, text in _code(source, every[:MOST_NAMES], max_files, max_bytes):
        unread += text is None
        digest.update(f"{name}\0{text}\0".encode())
        for number, line in enumerate((text or "").splitlines(), start=1):
            quote = Quote(name, number, line.rstrip()[:MOST_LINE])
            for key in _defined(line):
                places.setdefault(key, []).append(quote)
            for word in () if name.endswith(SURELY_DEFINED) else functions.intersection(WORD.findall(line)):
                seen.setdefault(word, quote)
    if not places:
        raise unreadable(source, "it holds no code that documents could be about")
    unread += len(every) > MOST_NAMES
    where = {key: tuple(quotes) for key, quotes in places.items()}
    return Program(frozenset(every), where, seen, unread, digest.hexdigest())


def _code(source: str, names: Sequence[str], max_files: int, max_bytes: int) -> Iterator[tuple[str, str | None]]:
    """Files that are no documents and no binaries as text, languages first; None for what is past a bound."""
    top, left = locate(source), MOST_CODE_BYTES
    wanted = [name for name in names if Path(name).suffix.lower() not in DOCUMENTS]
    order = {suffix: number for number, suffix in enumerate(CODE)}
    wanted.sort(key=lambda name: (order.get(Path(name).suffix.lower(), len(CODE)), name))
    for number, name in enumerate(wanted):
        most = min(max_bytes, left)
        try:
            raw = read_file(top / name if top.is_dir() else top, max_bytes=most + 1) if number < max_files else None
        except BadInput:
            raw = None
        if raw is not None and b"\0" in raw[:BINARY_BYTES]:
            continue
        if raw is None or len(raw) > most:
            yield name, None
        if raw is not None:
            left -= len(raw)
            yield name, text_of(raw[:most], is_cut=len(raw) > most)


def _every_file(source: str) -> Iterator[str]:
    """Every file by its path from the top, documents and hidden ones too; none to which a link leads out of it."""
    top = locate(source)
    if not top.is_dir():
        yield top.name
        return
    root = top.resolve()
    for folder, names, files in os.walk(top):
        names[:] = sorted(name for name in names if name not in NOT_LOOKED_AT and name.isprintable())
        for file in sorted(files):
            path = Path(folder) / file
            if file.isprintable() and path.is_file() and path.resolve().is_relative_to(root):
                yield path.relative_to(top).as_posix()


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
