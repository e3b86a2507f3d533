"""Functions of Python files that changed while no test that names them did. From the syntax tree; nothing is run."""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from blocks.reading.diffs import Diff
from blocks.reading.history import Span
from blocks.reading.repository import Repository

# A file of more is generated; the parser would take seconds and hundreds of MiB for it.
MOST_CHARACTERS = 300_000
MOST_BRANCHES, MOST_TESTS = 6, 3000
UNNAMED, UNTOUCHED = "no test names it", "its tests did not change"


@dataclass(frozen=True)
class Gap:
    """A function without a test for its change.

    Attributes:
        line: the first that is new in it. branches: its lines that decide something, as they stand there.
    """

    path: str
    line: int
    name: str
    what: str
    branches: tuple[str, ...]


def gaps_of(repository: Repository, span: Span, diff: Diff) -> tuple[list[Gap], list[tuple[str, str]]]:
    """Functions that nobody tests first, then by place; and the files that could not be read, with the reason."""
    added: dict[str, set[int]] = {}
    for hunk in diff.hunks:
        added.setdefault(hunk.path, set()).update(line.number for line in hunk.added if line.number)
    changed_tests = _words(repository, span, (path for path in added if is_test(path)))
    tests = [path for path in repository.paths(span.tip) if is_test(path)]
    every_test = _words(repository, span, tests[:MOST_TESTS])
    gaps: list[Gap] = []
    unread = [(path, f"more than {MOST_TESTS} files of tests") for path in tests[MOST_TESTS:]]
    for path in sorted(added):
        if not path.endswith(".py") or is_test(path):
            continue
        try:
            functions = functions_in(repository.file(span.tip, path))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            unread.append((path, f"no Python that can be read ({type(error).__name__})"))
            continue
        gaps += [
            Gap(path, min(touched), name, UNTOUCHED if name in every_test else UNNAMED, branches)
            for name, (first, last, branches) in functions.items()
            if (touched := added[path] & set(range(first, last + 1))) and name not in changed_tests
        ]
    return sorted(gaps, key=lambda gap: (gap.what != UNNAMED, gap.path, gap.line)), unread


def is_test(path: str) -> bool:
    """Whether a file holds tests, by its name as pytest and unittest want it."""
    name = PurePosixPath(path).name
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def functions_in(code: str) -> Mapping[str, tuple[int, int, tuple[str, ...]]]:
    """Public functions and methods: name -> first line, last line, the lines that decide something.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: it is no Python, or too much of it.
    """
    if len(code) > MOST_CHARACTERS:
        raise ValueError("too long")
    lines = code.splitlines()
    found: dict[str, tuple[int, int, tuple[str, ...]]] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            found[node.name] = (node.lineno, node.end_lineno or node.lineno, _branches(node, lines))
    return found


def _branches(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> tuple[str, ...]:
    """The lines of its conditions, errors and results, in their order."""
    kinds = (ast.If, ast.Raise, ast.Return, ast.For, ast.While, ast.With, ast.Try, ast.Assign)
    numbers = sorted({node.lineno for node in ast.walk(function) if isinstance(node, kinds)})
    texts = [lines[number - 1].strip() for number in numbers if number <= len(lines)]
    return tuple(dict.fromkeys(text for text in texts if 4 < len(text) <= 120))[:MOST_BRANCHES]


def _words(repository: Repository, span: Span, paths: Iterable[str]) -> set[str]:
    """Every word of these files at the newest commit."""
    return {word for text in repository.files(span.tip, paths) for word in re.findall(r"\w+", text)}
