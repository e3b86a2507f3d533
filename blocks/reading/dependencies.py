"""Lock files and advisories: requirements.txt, package-lock.json, poetry.lock, uv.lock; OSV JSON."""

import json
import tomllib
from pathlib import Path
from typing import Any

from blocks.checking.advisories import Dependencies, Package
from blocks.reading.places import files_in, locate, read_text, unreadable

MOST_FILES = 20_000
JSON_SUFFIX = frozenset({".json"})
MOST_ADVISORIES = 50_000
MODULES = "node_modules/"


def read_dependencies(source: str, advisories: str, *, max_bytes: int) -> Dependencies:
    """What is locked, and what is known about it.

    Raises:
        BadInput: no lock file, or no advisories: without them a check would say that all is well.
    """
    if not advisories:
        raise unreadable("advisories", "no file or folder of advisories is named in `settings.advisories`")
    if locate(source).stat().st_size > max_bytes:
        raise unreadable(source, f"it is longer than {max_bytes} bytes (`max_bytes`)")
    packages, bad_lines = _packages(locate(source).name, read_text(source, max_bytes=max_bytes), source)
    if not packages:
        raise unreadable(source, "it locks no package")
    known, bad_files = _advisories(advisories, max_bytes)
    if not known:
        raise unreadable(advisories, "there is no advisory in it")
    return Dependencies(packages=tuple(packages), advisories=tuple(known), unreadable=(*bad_lines, *bad_files))


def _packages(name: str, text: str, source: str) -> tuple[list[Package], list[str]]:
    try:
        if name.endswith(".json"):
            return _npm(json.loads(text)), []
        if name.endswith(".lock") and "[[package]]" in text:
            return _toml(tomllib.loads(text)), []
    except (ValueError, RecursionError) as error:
        raise unreadable(source, f"it is broken: {type(error).__name__}: {str(error)[:120]}") from error
    return _requirements(text)


def _requirements(text: str) -> tuple[list[Package], list[str]]:
    """Lines of pip's own form; options and hashes say nothing of versions."""
    from packaging.requirements import InvalidRequirement, Requirement

    packages, bad = list[Package](), list[str]()
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        plain = line.partition(" #")[0].partition(" --")[0].strip()
        if not plain or plain[0] in "#-":
            continue
        try:
            read = Requirement(plain)
        except InvalidRequirement:
            bad.append(f"the line {plain[:60]!r}")
            continue
        exact = [one.version for one in read.specifier if one.operator in ("==", "===")]
        pins = [version for version in exact if not version.endswith("*")]
        packages.append(Package(ecosystem="PyPI", name=read.name, version=pins[0] if pins else ""))
    return packages, bad


def _npm(read: Any) -> list[Package]:
    """`packages` of lock files since version 2, `dependencies` (nested) of those before."""
    found = dict[tuple[str, str], Package]()
    modules = read.get("packages") if isinstance(read, dict) else None
    waiting = [(path.rpartition(MODULES)[2], one) for path, one in modules.items()] if isinstance(modules, dict) else []
    old = read.get("dependencies") if isinstance(read, dict) and not waiting else None
    waiting += list(old.items()) if isinstance(old, dict) else []
    while waiting:
        name, one = waiting.pop()
        if not isinstance(one, dict):
            continue
        if name and not one.get("link"):
            version = str(one.get("version", ""))
            found[name, version] = Package(ecosystem="npm", name=name, version=version)
        inner = one.get("dependencies") if old else None
        waiting += list(inner.items()) if isinstance(inner, dict) else []
    return [found[key] for key in sorted(found)]


def _toml(read: dict[str, Any]) -> list[Package]:
    return [
        Package(ecosystem="PyPI", name=one["name"], version=str(one.get("version", "")))
        for one in read.get("package", [])
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    ]


def _advisories(source: str, max_bytes: int) -> tuple[list[dict[str, Any]], list[str]]:
    found, bad = list[dict[str, Any]](), list[str]()
    files = files_in(source, JSON_SUFFIX, max_files=MOST_FILES + 1)
    for path in files[:MOST_FILES]:
        try:
            found += _in_file(path, max_bytes)
        except (ValueError, RecursionError, OSError):
            bad.append(f"the advisories in {path.name}")
    if len(files) > MOST_FILES or len(found) > MOST_ADVISORIES:
        bad.append(f"what follows the first {MOST_FILES} files or {MOST_ADVISORIES} advisories")
    return found[:MOST_ADVISORIES], bad


def _in_file(path: Path, max_bytes: int) -> list[dict[str, Any]]:
    """One advisory, a list of them, or an object with the list under `vulns`."""
    with path.open("rb") as file:
        read = json.loads(file.read(max_bytes))
    listed = read.get("vulns", [read]) if isinstance(read, dict) else read
    return [one for one in listed if isinstance(one, dict) and "affected" in one] if isinstance(listed, list) else []
