"""The embedded engine: llama.cpp from a wheel, one child process for each model, no server to install.

A child has a process session of its own, so cancelling the run that started it does not end it;
its identity goes into the database with the resident's row. Evicting a model is ending its child,
which gives back everything, fragmentation included.
"""

import json
import secrets
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil

from governor.engines.protocol import Loaded
from governor.errors import BadInput, ModelFailed
from governor.policy.facts import ModelSpec
from governor.processes import Life, end, identify, life
from governor.settings import MIB, Home, home

GGUF_MAGIC = b"GGUF"
ASK_SECONDS = 2.0
# SIGTERM ends the child in 0.04 s (measured); the rest is patience with a busy machine.
END_SECONDS = 5.0


class EmbeddedEngine:
    """Engine of the name `embedded`."""

    name = "embedded"

    def health(self) -> str | None:
        """It is part of the installation: well unless the wheel is missing."""
        from importlib.util import find_spec

        return None if find_spec("xllamacpp") else "the package xllamacpp is not installed"

    def load(self, spec: ModelSpec, *, deadline_seconds: float = 60.0) -> Loaded:
        """Start a child for `spec` and wait until it serves.

        Raises:
            BadInput: the weights are missing or corrupt.
            ModelFailed: the child ended or did not serve within the deadline.
        """
        where = home()
        path = checked_weights(where, spec)
        api_key = secrets.token_urlsafe(24)
        log = where.logs / f"engine-{spec.model}-{spec.context_tokens}.log"
        settings = {
            "path": str(path),
            "model": spec.model,
            "context_tokens": spec.context_tokens,
            "gpu_layers": spec.gpu_layers,
            "threads": spec.threads,
            "api_key": api_key,
        }
        child = _spawn(settings, log)
        try:
            address = _wait_for_address(child, deadline_seconds, log)
            identity = identify(child.pid)
        except BaseException:
            child.kill()
            child.wait(END_SECONDS)
            raise
        finally:
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
        # The Popen object must not reap or warn later: the child outlives this process on purpose.
        child.returncode = 0
        return Loaded(address, api_key, identity, _memory_mib(child.pid))

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether the child lives and answers its health check."""
        if loaded.identity is None or life(loaded.identity) is Life.DEAD:
            return False
        return _get(loaded, "/health") is not None

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no engine slot is at work."""
        slots = _get(loaded, "/slots")
        return isinstance(slots, list) and not any(slot.get("is_processing") for slot in slots)

    def unload(self, loaded: Loaded, model: str) -> bool:
        """End the child; the kernel has its memory back when the process is gone."""
        return loaded.identity is None or end(loaded.identity, grace_seconds=END_SECONDS)

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """OpenAI's wire format at the child's address."""
        return {"model": f"openai/{spec.model}", "api_base": f"{loaded.address}/v1", "api_key": loaded.api_key}


def checked_weights(where: Home, spec: ModelSpec) -> Path:
    """Path of the weights, after a cheap look at them (the full hash is checked when fetched).

    Raises:
        BadInput: missing, empty, or not a GGUF file.
    """
    path = where.weights / spec.source
    remedy = "Run `hotdesk fetch`, which checks the hash and fetches again what does not match."
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise BadInput(f"The weights {path} cannot be read: {error.strerror}.", remedy=remedy) from error
    if magic != GGUF_MAGIC:
        raise BadInput(f"The weights {path} are corrupt: they do not begin like a GGUF file.", remedy=remedy)
    return path


def _spawn(settings: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "governor.engines.embedded_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            start_new_session=True,
        )
    assert child.stdin is not None
    child.stdin.write(json.dumps(settings).encode() + b"\n")
    child.stdin.close()
    return child


def _wait_for_address(child: subprocess.Popen[bytes], deadline_seconds: float, log: Path) -> str:
    assert child.stdout is not None
    readable, _, _ = select.select([child.stdout], [], [], deadline_seconds)
    line = child.stdout.readline() if readable else b""
    if not line:
        what = "ended while loading" if readable else f"did not serve within {deadline_seconds:.0f} s"
        raise ModelFailed(
            f"The embedded engine {what}: {_last_line(log)}.",
            remedy=f"See {log}; `hotdesk doctor` checks the weights and the memory.",
            engine="embedded",
            retryable=False,
        )
    return str(json.loads(line)["address"])


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it wrote no log"


def _memory_mib(pid: int) -> float | None:
    try:
        return psutil.Process(pid).memory_info().rss / MIB
    except psutil.Error:
        return None


def _get(loaded: Loaded, path: str) -> Any | None:
    """JSON of a GET, None when it does not answer with 200 in time."""
    try:
        answer = httpx.get(
            loaded.address + path, headers={"Authorization": f"Bearer {loaded.api_key}"}, timeout=ASK_SECONDS
        )
        return answer.json() if answer.status_code == httpx.codes.OK else None
    except (httpx.HTTPError, ValueError):
        return None
