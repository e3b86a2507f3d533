"""What the log of an embedded child that failed to load says, as an error for a person."""

import contextlib
import re
from pathlib import Path

from governor.engines.llama_log import NO_MEMORY, NOT_LOADED
from governor.errors import BadInput, HotdeskError, ModelFailed
from governor.policy.facts import ModelSpec
from governor.settings import home

# The tail of the log that is read after a failed load; a whole load writes about 3 kB.
TAIL_BYTES = 16_384
FETCH = "Run `hotdesk fetch`: it checks the weights against their hash and fetches them again if need be."


def log_of(spec: ModelSpec) -> Path:
    """Log of the child that serves `spec`; the one of the load before stands beside it as `.old`."""
    return home().logs / f"engine-{re.sub(r'[^A-Za-z0-9._-]+', '-', spec.model)}-{spec.context_tokens}.log"


def why_not(spec: ModelSpec, log: Path, late: bool) -> HotdeskError:
    """The error that the child's log speaks for."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        said = file.read().decode(errors="replace").splitlines()
        wrong = [line.partition(" E ")[2].strip() for line in said if " E " in line]
        reason = wrong[0] if wrong else next((line for line in reversed(said) if line.strip()), "its log is empty")
        if not late and any(NOT_LOADED in line for line in wrong) and not NO_MEMORY.search("\n".join(wrong)):
            return corrupt(home().weights / spec.source, f"the engine says {reason[:200]!r}")
        what = "was not up in time" if late else f"ended while it loaded {spec.model}: {reason[:200]}"
        return _failed(spec, what, log)
    return _failed(spec, "left no log", log)


def corrupt(path: Path, why: str) -> BadInput:
    """The weights cannot be used, and why."""
    return BadInput(
        f"The weights {path} are corrupt: {why}.",
        means="Nothing was loaded.",
        remedy=FETCH,
        path=str(path),
        engine="embedded",
    )


def _failed(spec: ModelSpec, what: str, log: Path) -> ModelFailed:
    return ModelFailed(
        f"The embedded engine {what}.",
        means="Nothing was loaded.",
        remedy=f"See {log}; `hotdesk doctor` checks the weights and the memory.",
        engine="embedded",
        model=spec.model,
        retryable=False,
    )
