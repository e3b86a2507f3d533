"""The embedded engine: llama.cpp from a wheel, one child process for each model, no server to install.

A child has a process session of its own, so that the end of the run that started it does not end it;
its identity goes into the database with the resident's row. Evicting a model is ending its child,
which gives back everything. What the child does is `embedded_child`, what a failed one said is
`embedded_log`; who may load or evict is `governor.residency`.
"""

import contextlib
import json
import math
import os
import secrets
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from governor.engines import llama_slots
from governor.engines.embedded_child import KEEP
from governor.engines.embedded_log import FETCH, corrupt, log_of, why_not
from governor.engines.environment import child_environment
from governor.engines.protocol import Loaded, Record, Running, Usage, Watch, forget, unwatched
from governor.engines.wire import SLICE_SECONDS, Wire
from governor.errors import BadInput, NotReady
from governor.gguf_header import read_weights, says_pooling
from governor.policy.facts import ModelSpec, Weights
from governor.processes import Life, end, identify, life
from governor.settings import MIB, home

CHILD_MODULE = "governor.engines.embedded_child"
# GGUF's fixed head: magic, version, number of tensors, number of metadata pairs (ggml's docs/gguf.md).
GGUF_HEAD = struct.Struct("<4sIQQ")
GGUF_MAGIC, GGUF_VERSIONS = b"GGUF", (2, 3)
# SIGTERM ends a child in 0.04 s (measured); the rest is patience with a busy machine.
END_SECONDS = 5.0
# After the parent's deadline, until the child that nobody took over ends itself.
ORPHAN_SECONDS = 5.0


class ChildGone(Exception):
    """The child closed its pipe, said half a line or answers nothing: its log says why."""


class EmbeddedEngine:
    """Engine of the name `embedded`."""

    name = "embedded"
    experimental = False
    accounts_for_vram = False
    cache_types = ("f16", "q8_0")

    def __init__(self) -> None:
        # Kept so that a child that ended is reaped at the next load, and none is warned about while it lives.
        self._children: list[subprocess.Popen[bytes]] = []

    def health(self) -> str | None:
        """It is part of the installation: well unless the wheel is missing."""
        return None if find_spec("xllamacpp") else "the package xllamacpp is not installed"

    def weights(self, spec: ModelSpec) -> Weights | None:
        """What the header of its weights says; a file that cannot be read is told of by the load."""
        try:
            return read_weights(checked_weights(spec))
        except (BadInput, NotReady):
            return None

    def residents(self) -> list[Running] | None:
        """The children of this user, whatever process or state folder of theirs started them."""
        return [_running(pid, arguments) for pid, arguments in _children()]

    def load(
        self, spec: ModelSpec, *, deadline_seconds: float = 60.0, record: Record = forget, watch: Watch = unwatched
    ) -> Loaded:
        """Start a child for `spec` and take it over once it serves and is well; ends it on any error.

        Raises:
            NotReady: the weights are missing, or no process can be started. BadInput: they are corrupt, or
            the kind of context is unknown. ModelFailed: no memory for it, or not up within the deadline.
        """
        path = checked_weights(spec)
        _check_cache_type(spec)
        deadline = time.monotonic() + deadline_seconds
        self._children = [child for child in self._children if child.poll() is None]
        log = log_of(spec)
        child = _spawn(log, spec)
        try:
            loaded = self._serving(child, _settings(spec, path, deadline_seconds), deadline, watch)
            record(loaded)
            _tell(child, KEEP)
            self._children.append(child)
        except BaseException as error:  # a signal too: nobody would ever know of this child
            child.kill()
            child.wait(END_SECONDS)
            if isinstance(error, ChildGone):
                raise why_not(spec, log, time.monotonic() >= deadline) from error
            raise
        finally:
            _close_pipes(child)
        return loaded

    def alive(self, loaded: Loaded, model: str) -> bool:
        """Whether that very child lives and answers its health check."""
        if loaded.identity is None or life(loaded.identity) is Life.DEAD:
            return False
        return _wire(loaded).found("/health") is not None

    def quiet(self, loaded: Loaded, model: str) -> bool:
        """Whether no engine slot is at work; False when the child does not say."""
        usage = llama_slots.slots(_wire(loaded))
        return usage is not None and usage.busy == 0

    def usage(self, loaded: Loaded, model: str) -> Usage | None:
        """What the child says of its engine slots; None when it does not answer."""
        return llama_slots.usage(_wire(loaded))

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

    def close(self) -> None:
        """Nothing runs beside its models."""

    def _serving(
        self, child: subprocess.Popen[bytes], settings: dict[str, Any], deadline: float, watch: Watch
    ) -> Loaded:
        """Settings in, address out, health checked. Raises ChildGone, and what `watch` raises."""
        _tell(child, json.dumps(settings))
        address = _address_from(child, deadline, watch)
        memory_mib = None
        with contextlib.suppress(psutil.Error):
            # Resident, shared pages included: what has to be there for it, whoever else maps the same file.
            memory_mib = psutil.Process(child.pid).memory_info().rss / MIB
        try:
            loaded = Loaded(address, settings["api_key"], identify(child.pid), memory_mib, (child.pid,))
        except ProcessLookupError as error:
            raise ChildGone("it ended") from error
        if not self.alive(loaded, settings["model"]):
            raise ChildGone("it answers no health check")
        return loaded


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
    raise corrupt(path, "they do not begin like a GGUF file")


def _check_cache_type(spec: ModelSpec) -> None:
    if spec.cache_type not in EmbeddedEngine.cache_types:
        raise BadInput(
            f"The embedded engine cannot keep a context as {spec.cache_type!r}.",
            means="Nothing was loaded.",
            remedy=f"Use one of: {', '.join(EmbeddedEngine.cache_types)}.",
            engine="embedded",
        )


def _settings(spec: ModelSpec, path: Path, deadline_seconds: float) -> dict[str, Any]:
    return {
        "path": str(path),
        "model": spec.model,
        "context_tokens": spec.context_tokens,
        "engine_slots": spec.engine_slots,
        "cache_type": spec.cache_type,
        "gpu_layers": spec.gpu_layers,
        "threads": spec.threads,
        "embeds": spec.embeds,
        "own_pooling": not spec.embeds or says_pooling(path),
        "api_key": secrets.token_urlsafe(24),
        "parent_pid": os.getpid(),
        "bound_seconds": math.ceil(deadline_seconds + ORPHAN_SECONDS),
    }


def _spawn(log: Path, spec: ModelSpec) -> subprocess.Popen[bytes]:
    # -P: a file beside the caller must not stand in for a module of the standard library. What follows the
    # module is for whoever looks at the list of processes, `_children` first of all; no secret stands there.
    about = [spec.model, str(spec.context_tokens), str(spec.engine_slots)]
    command = [sys.executable, "-P", "-m", CHILD_MODULE, *about]
    try:
        with contextlib.suppress(FileNotFoundError):
            log.replace(log.with_suffix(".old"))
        with log.open("wb") as sink:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=child_environment(),
                start_new_session=True,
            )
    except OSError as error:
        raise NotReady(
            f"The process of the embedded engine cannot be started: {error}.",
            means="Nothing was loaded.",
            remedy="Check the disk, the memory and the rights of the state folder with `hotdesk doctor`.",
            engine="embedded",
        ) from error


def _tell(child: subprocess.Popen[bytes], line: str) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(line.encode() + b"\n")
        child.stdin.flush()
    except OSError as error:
        raise ChildGone("it reads no more") from error


def _address_from(child: subprocess.Popen[bytes], deadline: float, watch: Watch) -> str:
    """The child's one line (written at once, so never in halves); ChildGone when it ended or is late."""
    assert child.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        watch((child.pid,))
        while not selector.select(max(0.0, min(SLICE_SECONDS, deadline - time.monotonic()))):
            if time.monotonic() >= deadline:
                raise ChildGone("it is late")
            watch((child.pid,))
    try:
        return json.loads(child.stdout.readline())["address"]
    except (OSError, ValueError) as error:
        raise ChildGone("it closed its pipe") from error


def _close_pipes(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was left to flush has no reader any more
                pipe.close()


def _wire(loaded: Loaded) -> Wire:
    return Wire(loaded.address, loaded.api_key)


def _children() -> Iterator[tuple[int, list[str]]]:
    """Pid, and model, context and engine slots as on the command line, of every child of this user."""
    for process in psutil.process_iter(["cmdline", "uids"]):
        words, uids = process.info["cmdline"] or [], process.info["uids"]
        if CHILD_MODULE in words and uids and uids.real == os.getuid():
            arguments = words[words.index(CHILD_MODULE) + 1 :]
            if len(arguments) == 3:
                yield process.pid, arguments


def _running(pid: int, arguments: list[str]) -> Running:
    model, context_tokens, engine_slots = arguments
    state = "loaded" if _serves(pid) else "loading"
    return Running(model, state, (pid,), int(context_tokens), int(engine_slots))


def _serves(pid: int) -> bool:
    """Whether it answers its health check, the one thing that may be asked without its key."""
    try:
        open_here = [c.laddr for c in psutil.Process(pid).net_connections("tcp4") if c.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return False
    return any(Wire(f"http://{where.ip}:{where.port}").found("/health") is not None for where in open_here)
