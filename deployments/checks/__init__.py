"""One row of the doctor, and how a check says what it found. A check looks; it never repairs."""

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """What one check found. `remedy` is the next step, '' where none is needed.

    warn: it works, or can wait; fail: hotdesk cannot work like this.
    """

    name: str
    outcome: Outcome
    said: str
    remedy: str = ""


def passed(name: str, said: str, remedy: str = "") -> Check:
    """All is well; `remedy` is then advice."""
    return Check(name, "pass", said, remedy)


def warned(name: str, said: str, remedy: str) -> Check:
    """Worth knowing."""
    return Check(name, "warn", said, remedy)


def failed(name: str, said: str, remedy: str) -> Check:
    """To be mended first."""
    return Check(name, "fail", said, remedy)
