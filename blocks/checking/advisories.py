"""Which locked packages an advisory covers. Pure; versions are compared by `packaging`.

Advisories are read in the form of OSV (ossf.github.io/osv-schema): ranges of events (`introduced`, `fixed`,
`last_affected`) and lists of versions.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from blocks.checking.findings import Finding, fail, fine, named, warn
from governor.policy.facts import Fact

# Severities that can wait for the next update; everything else, an unknown one too, fails.
CAN_WAIT = frozenset({"low", "moderate", "medium"})


class Package(Fact):
    """One locked package. `version` is '' where the lock file pins none. `ecosystem`: PyPI or npm."""

    ecosystem: str
    name: str
    version: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """By what advisories name it."""
        return self.ecosystem.lower(), canonicalize_name(self.name) if self.ecosystem == "PyPI" else self.name.lower()


class Dependencies(Fact):
    """What is locked, and the advisories as they were read. `unreadable`: of either, by name."""

    packages: tuple[Package, ...]
    advisories: tuple[dict[str, Any], ...]
    unreadable: tuple[str, ...] = ()


def judge(facts: Dependencies) -> list[Finding]:
    """One finding for each advisory that covers a package, and one for all that is not covered."""
    known: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for advisory in facts.advisories:
        for affected in _listed(advisory, "affected") if not advisory.get("withdrawn") else []:
            package = affected.get("package")
            if isinstance(package, dict):
                of = Package(ecosystem=str(package.get("ecosystem", "")), name=str(package.get("name", "")))
                known.setdefault(of.key, []).append((advisory, affected))
    found = [finding for package in facts.packages for finding in _of_package(package, known.get(package.key, ()))]
    found += [warn(named(name), f"{named(name)} cannot be read.") for name in facts.unreadable]
    count = len(facts.packages) - len({finding.subject for finding in found if finding.subject})
    words = f"{max(count, 0)} of {len(facts.packages)} packages are pinned and free of known advisories"
    return [*found, fine("the lock file", f"{words}, by {len(facts.advisories)} advisories.", value=max(count, 0))]


def _of_package(package: Package, known: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> Iterable[Finding]:
    subject = named(f"{package.name} {package.version}".strip())
    if not package.version:
        yield warn(subject, f"The package {subject} is not pinned to one version.", value="not pinned")
        return
    try:
        version = Version(package.version)
    except InvalidVersion:
        if known:
            yield warn(subject, f"The version of {subject} cannot be compared with the advisories.")
        return
    seen = set[str]()
    for advisory, affected in known:
        name = named(advisory.get("id", "an advisory without an id"))
        covered = covers(affected, version)
        if name in seen or covered is False:
            continue
        seen.add(name)
        if covered is None:
            what = f"The advisory {name} about {subject} names versions that cannot be compared."
            yield warn(subject, what, value=name)
        else:
            yield _finding(subject, name, advisory, _fixed(affected, version))


def _finding(subject: str, name: str, advisory: dict[str, Any], fixed: str) -> Finding:
    summary = named(advisory.get("summary") or "no summary").rstrip(".")
    what = f"The package {subject} has a known hole, {name}: {summary}."
    said = advisory.get("database_specific")
    severity = str(said.get("severity", "")) if isinstance(said, dict) else ""
    make = warn if severity.lower() in CAN_WAIT else fail
    return make(subject, what, value=f"{name} {severity}".strip(), limit=f"fixed in {fixed}" if fixed else "no fix yet")


def covers(affected: dict[str, Any], version: Version) -> bool | None:
    """Whether a version is affected; None where that cannot be told."""
    unknown = False
    for name in _listed(affected, "versions", str):
        try:
            if Version(name) == version:
                return True
        except InvalidVersion:
            unknown = True
    for span in _listed(affected, "ranges"):
        if str(span.get("type", "")).upper() == "GIT":
            continue
        inside = _inside(_listed(span, "events"), version)
        if inside:
            return True
        unknown = unknown or inside is None
    return None if unknown else False


def _inside(events: Sequence[dict[str, Any]], version: Version) -> bool | None:
    """By the events in order of their versions, as OSV says; 0 is before all."""
    order = list[tuple[Version, str]]()
    for event in events:
        for kind, at in event.items():
            try:
                order.append((Version("0.dev0") if str(at) == "0" else Version(str(at)), kind))
            except InvalidVersion:
                return None
    inside = False
    for at, kind in sorted(order, key=lambda pair: pair[0]):
        if kind == "introduced" and version >= at:
            inside = True
        elif (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _fixed(affected: dict[str, Any], version: Version) -> str:
    """The first version above this one that has the fix."""
    events = [event for span in _listed(affected, "ranges") for event in _listed(span, "events")]
    above = [at for event in events if (at := _version(event.get("fixed"))) is not None and at > version]
    return str(min(above)) if above else ""


def _version(text: object) -> Version | None:
    try:
        return Version(str(text))
    except InvalidVersion:
        return None


def _listed(of: dict[str, Any], name: str, kind: type = dict) -> list[Any]:
    """A list of an advisory, without what does not belong there."""
    listed = of.get(name)
    return [one for one in listed if isinstance(one, kind)] if isinstance(listed, list) else []
