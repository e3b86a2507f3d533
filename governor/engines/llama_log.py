"""What the log of llama-server says of one load: why it failed, and whether every layer went to the card.

The router writes a model's lines into its own log, each with the model's port in front, between its own lines
and those of other models. Only reads.
"""

import re
import time
from pathlib import Path

from governor.engines.wire import failed
from governor.errors import BadInput, DoesNotFit, HotdeskError, ModelFailed
from governor.policy.facts import ModelSpec

# A whole load writes some 20 kB; what was written before it is not read.
MOST_BYTES = 1024 * 1024
# llama.cpp's words, whatever program it is part of.
NO_MEMORY = re.compile(r"failed to allocate|unable to allocate|insufficient memory|out of memory", re.IGNORECASE)
NOT_LOADED = "failed to load model"
NO_CARD = "no usable GPU found"
# What the router writes when it starts a model, and when somebody has it unloaded.
STARTED = "spawning server instance with name={model} on port "
STOPPED = "stopping model instance name={model}"
OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
# The router hears of an end, then writes this line; the list may say it a moment earlier.
ENDED = "instance name={model} exited with status"
ENDED_SECONDS = 1.0


def size_of(log: Path) -> int:
    """Where the log ends now, 0 when there is none."""
    return log.stat().st_size if log.exists() else 0


def why_not(spec: ModelSpec, log: Path, since: int, path: Path, port: int | None = None) -> HotdeskError:
    """The error that a failed load's log speaks for: no memory, corrupt weights (`path`), or something else.

    `port` is that of the model's process, None when it was never seen: then the router's line of its start tells.
    """
    lines = _ended(log, since, spec.model)
    said = _of_model(lines, spec.model, port)
    wrong = [line.partition(" E ")[2].strip() for line in said if " E " in line]
    reason = wrong[0][:200] if wrong else (said[-1][:200] if said else "no word")
    if no_memory := next((line for line in wrong if NO_MEMORY.search(line)), None):
        return does_not_fit(spec, f"llama-server says {no_memory[:200]!r}")
    if any(NOT_LOADED in line for line in wrong):
        return BadInput(
            f"The weights {path} are corrupt, or not for this llama-server: it says {reason!r}.",
            means="Nothing was loaded.",
            remedy="Run `hotdesk fetch`: it checks the weights against their hash and fetches them again if need be.",
            path=str(path),
            engine="llama_server",
        )
    ended_by_another = any(line.endswith(STOPPED.format(model=spec.model)) for line in lines)
    if ended_by_another:
        return failed(spec, "was told by another process to unload it while it loaded", retryable=True)
    return ModelFailed(
        f"llama-server ended while it loaded {spec.model}: {reason}.",
        means="Nothing was loaded.",
        remedy=f"See {log}; `hotdesk doctor` checks the weights and the memory.",
        engine="llama_server",
        model=spec.model,
        retryable=False,
    )


def spilled(spec: ModelSpec, log: Path, since: int, port: int | None = None) -> str | None:
    """What of a loaded model is not on the card though it was meant to be; None when all is, or nothing says so.

    `port` as in `why_not`.
    """
    if spec.gpu_layers == 0:
        return None
    said = "\n".join(_of_model(_since(log, since), spec.model, port))
    if found := OFFLOADED.search(said):
        on_card, layers = int(found[1]), int(found[2])
        wanted = layers if spec.gpu_layers < 0 else min(spec.gpu_layers, layers)
        return f"only {on_card} of its {layers} layers went to the card" if on_card < wanted else None
    return "llama-server finds no card that it can use" if NO_CARD in said else None


def does_not_fit(spec: ModelSpec, why: str) -> DoesNotFit:
    """`spec` cannot be in memory as it was meant to be."""
    return DoesNotFit(
        f"{spec.model} at {spec.context_tokens} tokens does not fit: {why}.",
        means="Nothing stayed loaded.",
        remedy="Free some memory, or use a smaller model or context in the profile.",
        refusals=[why],
    )


def _of_model(lines: list[str], model: str, port: int | None) -> list[str]:
    """What the model's own process wrote."""
    if port is None:
        started = STARTED.format(model=model)
        port = next((int(rest) for line in reversed(lines) if (rest := line.partition(started)[2]).isdecimal()), None)
    return [line for line in lines if line.startswith(f"[{port}] ")]


def _ended(log: Path, since: int, model: str) -> list[str]:
    """The lines of a load that ended, waiting for the last one."""
    deadline = time.monotonic() + ENDED_SECONDS
    while True:
        lines = _since(log, since)
        if any(ENDED.format(model=model) in line for line in lines) or time.monotonic() >= deadline:
            return lines
        time.sleep(0.02)


def _since(log: Path, since: int) -> list[str]:
    try:
        with log.open("rb") as file:
            size = log.stat().st_size
            file.seek(max(since if since <= size else 0, size - MOST_BYTES))  # it may have been emptied
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
