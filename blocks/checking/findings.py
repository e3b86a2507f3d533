"""What a check found, and the verdict that follows from it. Pure; no model has a say in either."""

from collections.abc import Iterable
from enum import StrEnum

from blocks.untrusted import as_data
from governor.policy.facts import Fact

# Names of files, packages and hosts come from outside; longer ones are cut.
NAME_CHARACTERS = 100


class Severity(StrEnum):
    """How bad it is. `fail` raises an alarm."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


WORST_FIRST = (Severity.FAIL, Severity.WARN, Severity.OK)


class Finding(Fact):
    """One thing that was looked at.

    Attributes:
        subject: what was looked at. what: a whole sentence for a person.
        value: the figure or word found; limit: what it should have been, '' where there is no such thing.
    """

    severity: Severity
    subject: str
    what: str
    value: str = ""
    limit: str = ""


def fail(subject: str, what: str, *, value: object = "", limit: object = "") -> Finding:
    """Something that needs a person."""
    return Finding(severity=Severity.FAIL, subject=subject, what=what, value=str(value), limit=str(limit))


def warn(subject: str, what: str, *, value: object = "", limit: object = "") -> Finding:
    """Something that will need a person, or that keeps the check from seeing all."""
    return Finding(severity=Severity.WARN, subject=subject, what=what, value=str(value), limit=str(limit))


def fine(subject: str, what: str, *, value: object = "", limit: object = "") -> Finding:
    """Something that was looked at and is as it should be."""
    return Finding(severity=Severity.OK, subject=subject, what=what, value=str(value), limit=str(limit))


def verdict(findings: Iterable[Finding]) -> Severity:
    """The worst of them."""
    there = {finding.severity for finding in findings}
    return next((severity for severity in WORST_FIRST if severity in there), Severity.OK)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Worst first, then by what they are about."""
    return sorted(findings, key=lambda f: (WORST_FIRST.index(f.severity), f.subject, f.what))


def named(text: object) -> str:
    """A name from outside as it may stand in a sentence: one line, no markup."""
    return as_data(str(text), NAME_CHARACTERS) or "(no name)"


def figure(number: float) -> str:
    """A number as people write it: whole ones without a point, others with one digit."""
    return f"{number:.0f}" if number == round(number) else f"{number:.1f}"


def megabytes(count: float) -> str:
    """Bytes in words."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{figure(round(count / size, 1))} {unit}"
    return f"{count:.0f} bytes"
