"""The embedded engine: llama.cpp from a wheel, one child process for each model, no server to install.

A child has a process session of its own, so that the end of the run that started it does not end it;
its identity goes into the database with the resident's row. Evicting a model is ending its child,
which gives back everything. What the child does is `embedded_child`; who may load or evict is
`governor.residency`.
"""

import contextlib
import http.client
import json
import math
import re
import secrets
import selectors
import struct
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from governor.engines.embedded_child import KEEP
from governor.engines.protocol import Loaded, Record, forget
from governor.errors import BadInput, HotdeskError, ModelFailed, NotReady
from governor.policy.facts import ModelSpec
from governor.processes import Life, end, identify, life
from governor.settings import MIB, home

# GGUF's fixed head: magic, version, number of tensors, number of metadata pairs (ggml's docs/gguf.md).
GGUF_HEAD = struct.Struct("<4sIQQ")
GGUF_MAGIC, GGUF_VERSIONS = b"GGUF", (2, 3)
# Answered in milliseconds even while it generates; the rest is patience with a busy machine.
ASK_SECONDS = 2.0
# SIGTERM ends a child in 0.04 s (measured); the rest is patience with a busy machine.
END_SECONDS = 5.0
# After the parent's deadline, until the child that nobody took over ends itself.
ORPHAN_SECONDS = 5.0
# The tail of the log that is read after a failed load; a whole load writes about 3 kB.
TAIL_BYTES = 16_384
NO_MEMORY = re.compile(r"failed to allocate|unable to allocate|insufficient memory|out of memory", re.IGNORECASE)
NOT_LOADED = "failed to load model"
FETCH = "Run `hotdesk fetch`: it checks the weights against their hash and fetches them again if need be."


class EmbeddedEngine:
    """Engine of the name `embedded`."""

    name = "embedded"

    def __init__(self) -> None:
        # Kept so that a child that ended is reaped at the next load, and none is warned about while it lives.
        self._children: list[subprocess.Popen[bytes]] = []

    def health(self) -> str | None:
        """It is part of the installation: well unless the wheel is missing."""
        return None if find_spec("xllamacpp") else "the package xllamacpp is not installed"

    def load(self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget) -> Loaded:
        """Start a child for `spec` and take it over once it serves and is well; ends it on any error.

        Raises:
            NotReady: the weights are missing, or no process can be started. BadInput: they are corrupt.
            ModelFailed: no memory for it, or not up within the deadline.
        """
        path = checked_weights(spec)
        deadline = time.monotonic() + deadline_seconds
        self._children = [child for child in self._children if child.poll() is None]
        log = log_of(spec)
        child = _spawn(log)
        try:
            loaded = self._take_over(child, _settings(spec, path, deadline_seconds), deadline, record)
            self._children.append(child)
        except (OSError, ValueError) as error:
            # Closed pipes, half a line, refused connections: all mean that the child went away.
            child.kill()
            child.wait(END_SECONDS)
            raise _why_not(spec, log, time.monotonic() >= deadline) from error
        except BaseException:  # a signal: nobody would ever know of this child
            child.kill()
            child.wait(END_SECONDS)
            raise
        finally:
            _close_pipes(child)
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether that very child lives and answers its health check."""
        if loaded.identity is None or life(loaded.identity) is Life.DEAD:
            return False
        return _get(loaded, "/health") is not None

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no engine slot is at work; False when the child does not say."""
        slots = _get(loaded, "/slots")
        return isinstance(slots, list) and not any(slot.get("is_processing") for slot in slots)

    def unload(self, loaded: Loaded, model: str) -> bool:
        """End the child; the kernel and the driver have its memory back when the process is gone."""
        return loaded.identity is None or end(loaded.identity, grace_seconds=END_SECONDS)

    def litellm_parameters(self, spec: ModelSpec, loaded: Loaded) -> dict[str, Any]:
        """OpenAI's wire format at the child's address; labels by grammar."""
        return {
            "model": f"openai/{spec.model}",
            "api_base": f"{loaded.address}/v1",
            "api_key": loaded.api_key,
            "choices_as": "grammar",
        }

    def _take_over(
        self, child: subprocess.Popen[bytes], settings: dict[str, Any], deadline: float, record: Record
    ) -> Loaded:
        """Settings in, address out, health checked, recorded, `keep` said. OSError or ValueError when it went away."""
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(settings).encode() + b"\n")
        child.stdin.flush()
        address = json.loads(_line_of(child, deadline))["address"]
        memory_mib = None
        with contextlib.suppress(psutil.Error):
            # Resident, shared pages included: what has to be there for it, whoever else maps the same file.
            memory_mib = psutil.Process(child.pid).memory_info().rss / MIB
        loaded = Loaded(address, settings["api_key"], identify(child.pid), memory_mib)
        if not self.alive(loaded, settings["model"]):
            raise ConnectionError("it answers no health check")
        record(loaded)
        child.stdin.write(KEEP.encode() + b"\n")
        child.stdin.flush()
        return loaded


def log_of(spec: ModelSpec) -> Path:
    """Log of the child that serves `spec`; the one of the load before stands beside it as `.old`."""
    return home().logs / f"engine-{re.sub(r'[^A-Za-z0-9._-]+', '-', spec.model)}-{spec.context_tokens}.log"


def checked_weights(spec: ModelSpec) -> Path:
    """Path of the weights, after a cheap look at their head (the hash is checked when they are fetched).

    Raises:
        NotReady: missing or unreadable. BadInput: not a GGUF file, or none with tensors in it.
    """
    path = home().weights / spec.source
    try:
        with path.open("rb") as file:
            head = file.read(GGUF_HEAD.size)
    except OSError as error:
        raise NotReady(
            f"The weights {path} cannot be read: {error.strerror or error}.",
            remedy=FETCH,
            path=str(path),
            engine="embedded",
        ) from error
    if len(head) == GGUF_HEAD.size:
        magic, version, tensors, _ = GGUF_HEAD.unpack(head)
        if magic == GGUF_MAGIC and version in GGUF_VERSIONS and tensors:
            return path
    raise _corrupt(path, "they do not begin like a GGUF file")


def _settings(spec: ModelSpec, path: Path, deadline_seconds: float) -> dict[str, Any]:
    return {
        "path": str(path),
        "model": spec.model,
        "context_tokens": spec.context_tokens,
        "gpu_layers": spec.gpu_layers,
        "threads": spec.threads,
        "api_key": secrets.token_urlsafe(24),
        "bound_seconds": math.ceil(deadline_seconds + ORPHAN_SECONDS),
    }


def _spawn(log: Path) -> subprocess.Popen[bytes]:
    # -P: a file beside the caller must not stand in for a module of the standard library.
    command = [sys.executable, "-P", "-m", "governor.engines.embedded_child"]
    try:
        with contextlib.suppress(FileNotFoundError):
            log.replace(log.with_suffix(".old"))
        with log.open("wb") as sink:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink, start_new_session=True
            )
    except OSError as error:
        raise NotReady(
            f"The process of the embedded engine cannot be started: {error}.",
            means="Nothing was loaded.",
            remedy="Check the disk, the memory and the rights of the state folder with `hotdesk doctor`.",
            engine="embedded",
        ) from error


def _line_of(child: subprocess.Popen[bytes], deadline: float) -> bytes:
    """The child's one line (written at once, so never in halves); empty when it ended or is late."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        readable = selector.select(max(0.0, deadline - time.monotonic()))
    return child.stdout.readline() if readable else b""


def _close_pipes(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was left to flush has no reader any more
                pipe.close()


def _why_not(spec: ModelSpec, log: Path, late: bool) -> HotdeskError:
    """The error that the child's log speaks for."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_BYTES))
        said = file.read().decode(errors="replace").splitlines()
        wrong = [line.partition(" E ")[2].strip() for line in said if " E " in line]
        reason = wrong[0] if wrong else next((line for line in reversed(said) if line.strip()), "its log is empty")
        if not late and any(NOT_LOADED in line for line in wrong) and not NO_MEMORY.search("\n".join(wrong)):
            return _corrupt(home().weights / spec.source, f"the engine says {reason[:200]!r}")
        what = "was not up in time" if late else f"ended while it loaded {spec.model}: {reason[:200]}"
        return _failed(spec, what, log)
    return _failed(spec, "left no log", log)


def _corrupt(path: Path, why: str) -> BadInput:
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
        engine=EmbeddedEngine.name,
        model=spec.model,
        retryable=False,
    )


def _get(loaded: Loaded, path: str) -> Any | None:
    """JSON of a GET, None unless it is a 200 in time. Plain http.client: no proxy, no certificates to read."""
    where = urlsplit(loaded.address)
    if not where.hostname:  # a row whose load never ended
        return None
    line = http.client.HTTPConnection(where.hostname, where.port, timeout=ASK_SECONDS)
    try:
        line.request("GET", path, headers={"Authorization": f"Bearer {loaded.api_key}"})
        answer = line.getresponse()
        return json.loads(answer.read()) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        line.close()
