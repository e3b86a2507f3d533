"""What every benchmark prints: progress on stderr, and one JSON object as the last line of stdout."""

import json
import math
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_begun_s = time.monotonic()


@dataclass(frozen=True)
class Target:
    """What the issue asks for, and what came out. `ok` is None where this run did not measure it."""

    name: str
    reach: str
    got: dict[str, Any] | None
    ok: bool | None


@dataclass
class Report:
    """One benchmark's results; units are in the names of the keys."""

    name: str
    machine: dict[str, Any]
    ours: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    ratio: dict[str, Any] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def expect(self, name: str, reach: str, got: dict[str, Any] | None, ok: bool | None) -> None:
        """Hold a result against what the issue asks for; `got` None: not measured in this run."""
        self.targets.append(Target(name, reach, got, None if got is None else ok))

    def emit(self) -> None:
        """Print it as the last line."""
        for target in self.targets:
            word = {True: "reached", False: "MISSED", None: "not measured"}[target.ok]
            say(f"{word}: {target.name}, {target.reach}: {target.got}")
        print(json.dumps(asdict(self)), flush=True)


def say(text: str) -> None:
    """One line of progress."""
    print(f"[{time.monotonic() - _begun_s:6.1f} s] {text}", file=sys.stderr, flush=True)


def end_cleanly_on_sigterm() -> None:
    """SIGTERM unwinds like Ctrl-C, so that the server, the children and the state folder go too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of all do not exceed (nearest rank); None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def rounded(value: float | None, digits: int = 1) -> float | None:
    """For print; None stays None."""
    return None if value is None else round(value, digits)


def quotient(value: float | None, by: float | None) -> float | None:
    """`value / by`, None where either is missing or `by` is zero."""
    return None if value is None or not by else value / by
