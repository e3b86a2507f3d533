"""Test runs as JUnit XML: what each test came to in each run. What a flaky test is, is `blocks.checking.flaky`."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from blocks.reading.newest import newest_files
from blocks.reading.places import locate, name_below, unreadable

SUFFIXES = frozenset({".xml"})
MOST_CASES, MESSAGE_CHARACTERS = 20_000, 600
DIGITS = re.compile(r"([0-9]{1,18})")
FAILED = ("failure", "error")


@dataclass(frozen=True)
class Case:
    """One test in one run. `outcome`: passed, failed or skipped. `message`: why it failed, its first lines."""

    name: str
    run: str
    outcome: str
    message: str = ""


@dataclass(frozen=True)
class TestRuns:
    """Runs, oldest first by the paths of their files. `unread`: file -> why not. `left_out`: how many older runs."""

    __test__ = False  # not a test of ours, whatever its name begins with

    cases: list[Case]
    runs: list[str]
    sha256: str
    unread: dict[str, str] = field(default_factory=dict)
    left_out: int = 0


def read_runs(source: str, *, max_runs: int, max_bytes: int) -> TestRuns:
    """The last runs of a folder of JUnit XML files, at most `max_bytes` of each.

    Raises:
        BadInput: there is none, or none can be read.
    """
    newest = newest_files(source, SUFFIXES, most=max_runs, age=_number)
    if not newest.paths:
        raise unreadable(source, "it holds no .xml file")
    top = locate(source)
    cases, runs, unread, digest = list[Case](), list[str](), dict[str, str](), hashlib.sha256()
    for path in reversed(newest.paths):
        name = name_below(top, path)
        try:
            raw = _bytes(path, max_bytes)
            cases += parsed(raw, name.removesuffix(path.suffix))
        except (OSError, ValueError, ParseError) as error:
            unread[name] = str(error)[:200]
            continue
        digest.update(raw)
        runs.append(name.removesuffix(path.suffix))
    if not runs:
        raise unreadable(source, f"{next(iter(unread))}: {next(iter(unread.values()))}")
    return TestRuns(cases, runs, digest.hexdigest(), unread, newest.left_out)


def _number(path: Path) -> tuple[object, ...]:
    """Paths in the order in which runs are numbered or dated: run-9 comes before run-10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in DIGITS.split(str(path)) if part)


def _bytes(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise ValueError(f"it has more than {max_bytes} bytes")
    return raw


def parsed(raw: bytes, run: str) -> list[Case]:
    """The tests of one run.

    Raises:
        ValueError, ParseError: no XML, entities or a document type in it (DefusedXmlException), or no test in it.
    """
    from defusedxml.ElementTree import fromstring  # few agents read XML

    root: Element = fromstring(raw, forbid_dtd=True)
    cases = [_case(each, run) for place, each in enumerate(root.iter("testcase")) if place < MOST_CASES]
    if not cases:
        raise ValueError("it holds no test case")
    return cases


def _case(found: Element, run: str) -> Case:
    name = ".".join(part for part in (found.get("classname", ""), found.get("name", "")) if part)[:300] or "unnamed"
    failed = next((child for child in found if child.tag in FAILED), None)
    if failed is None:
        return Case(name, run, "skipped" if found.find("skipped") is not None else "passed")
    message = failed.get("message") or (failed.text or "").strip().splitlines()[-1:] or failed.get("type") or ""
    said = message if isinstance(message, str) else " ".join(message)
    return Case(name, run, "failed", " ".join(said.split())[:MESSAGE_CHARACTERS])
