"""The router process of llama-server: one for each state folder, started on demand, found again by everybody.

A router holds no model itself: it starts a process for each model and passes requests on. It has a process
session of its own, so that the end of the run that started it does not end it. Who and where it is stands in
a file beside its presets; under the file lock here two processes at once start one. What it is told is
`governor.engines.llama_server`.
"""

import contextlib
import fcntl
import itertools
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from governor.engines import llama_presets
from governor.engines.wire import Wire
from governor.errors import NotReady
from governor.processes import Identity, Life, end, identify, life
from governor.settings import home

BINARY = "llama-server"
NAMED_BY = "HOTDESK_LLAMA_SERVER"
BUILD = "Build one with `tests/build_llama_server.sh DIR` and put DIR/bin on the PATH, or name it in " + NAMED_BY + "."
# llama.cpp reads the key from the file named here. On the command line it would hold for the router alone,
# which strips it from what it starts: the models' own ports would be open to every user of the machine.
KEY_VARIABLE = "LLAMA_ARG_API_KEY_FILE"
LISTENING = re.compile(rb"listening on (http://127\.0\.0\.1:\d+)")
# A router is up in 0.03 s (measured); the rest is patience with a busy machine.
START_SECONDS = 20.0
START_POLL_SECONDS = 0.005
# Held while a router starts or a load is told to it, never while a model loads.
LOCK_SECONDS = 40.0
LOCK_POLL_SECONDS = 0.01
# On SIGTERM it ends its models first, and kills those that do not end (`stop-timeout` in the presets).
END_SECONDS = 5.0
# Asked this often, 2 s each, before a router that lives and says nothing is replaced.
TRIES = 3
# Every request writes some lines; past this it is emptied before the next load.
MOST_LOG_BYTES = 16 * 1024 * 1024
# How the command line, not the presets, must look: nothing by itself, nothing from the network, no page.
COMMAND = (
    *("--host", "127.0.0.1", "--port", "0", "--offline", "--no-ui"),
    *("--no-models-autoload", "--models-max", "0", "--log-colors", "off"),
)

_started: list[subprocess.Popen[bytes]] = []  # kept so that a router of this process that ended is reaped


@dataclass(frozen=True)
class Child:
    """The process of one model: who it is, and the base URL at which it answers itself, with the router's key."""

    identity: Identity
    address: str


@dataclass(frozen=True)
class Router:
    """A router that was seen to answer: its process, its base URL, the key that it and its models want."""

    identity: Identity
    address: str
    api_key: str = field(repr=False)

    @property
    def wire(self) -> Wire:
        """How to ask it."""
        return Wire(self.address, self.api_key)

    def children(self) -> dict[str, Child]:
        """The process of each model, by its name; only those that live."""
        living: dict[str, Child] = {}
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.identity.pid).children():
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    told = child.cmdline()
                    model, port = _value_of(told, "--alias"), _value_of(told, "--port")
                    if model and port:
                        living[model] = Child(identify(child.pid), f"http://127.0.0.1:{port}")
        return living

    def child(self, model: str) -> Child | None:
        """The process that holds `model`; None when there is none that lives."""
        return self.children().get(model)


def folder() -> Path:
    """Where the router's files live; made by `locked`."""
    return home().root / BINARY


def presets_file() -> Path:
    """The INI file that the router reads its models from."""
    return folder() / "models.ini"


def log_file() -> Path:
    """The router's log, and through it that of every model it runs."""
    return home().logs / f"{BINARY}.log"


def binary() -> Path | None:
    """The program: as HOTDESK_LLAMA_SERVER names it, else from the PATH; None when there is none."""
    found = shutil.which(os.environ.get(NAMED_BY) or BINARY)
    return Path(found).absolute() if found else None


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Whoever starts a router, ends one, or writes presets does it in here, one process at a time.

    Raises:
        NotReady: the folder cannot be used, or somebody keeps the lock.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unusable(f"its folder {folder()} cannot be used: {error.strerror or error}") from error
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _taken(handle):
            if time.monotonic() >= deadline:
                raise _unusable(f"another process keeps its lock for more than {LOCK_SECONDS:.0f} s")
            time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(handle)  # also drops the lock


def found() -> Router | None:
    """The router of this state folder as its file tells, if its process is not known to be dead. Asks nobody."""
    try:
        told = json.loads((folder() / "router.json").read_text())
        router = Router(Identity(**told["identity"]), told["address"], (folder() / "key").read_text().strip())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if life(router.identity) is Life.DEAD else router


def ensure() -> Router:
    """A router that answers: the one that runs, else a new one. To be called under `locked`.

    Raises:
        NotReady: there is no llama-server, or it does not start.
    """
    router = found()
    if router is not None and any(router.wire.found("/models") is not None for _ in range(TRIES)):
        _spare_the_disk()
        return router
    program = binary()
    if program is None:
        raise _unusable("there is no such program")
    end_all()
    return _start(program)


def end_all() -> None:
    """End every router of this state folder and every process that one left behind."""
    router = found()
    if router is not None:
        end(router.identity, grace_seconds=END_SECONDS)
    _started[:] = [process for process in _started if process.poll() is None]
    for orphan in ours():
        end(orphan, grace_seconds=END_SECONDS)
    with contextlib.suppress(OSError):
        (folder() / "router.json").unlink()


def ours() -> list[Identity]:
    """Every process of a router of this state folder, the router too, whoever its parent is by now.

    They are known by the key file that they were started with. A model's process ends by itself when its
    router is gone, but not before it has loaded.
    """
    key, me, mine = str(folder() / "key"), os.getpid(), []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != me and _is_ours(process, key):
                mine.append(identify(process.pid))
    return mine


def _is_ours(process: psutil.Process, key: str) -> bool:
    """A caller's environment may name the key as well; only the program itself listens on the loopback address."""
    return _value_of(process.cmdline(), "--host") == "127.0.0.1" and process.environ().get(KEY_VARIABLE) == key


def _start(program: Path) -> Router:
    where = folder()
    llama_presets.empty(presets_file())
    _write_private(where / "key", secrets.token_urlsafe(24) + "\n")
    log = log_file()
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_suffix(".old"))
    try:
        process = _spawn(program, log)
    except OSError as error:
        raise _unusable(f"{program} cannot be started: {error}") from error
    _started.append(process)
    try:
        address = _address_of(process, log)
        router = Router(identify(process.pid), address, (where / "key").read_text().strip())
        _write_private(where / "router.json", json.dumps({"identity": asdict(router.identity), "address": address}))
    except BaseException:
        process.kill()
        process.wait(END_SECONDS)
        raise
    return router


def _spawn(program: Path, log: Path) -> subprocess.Popen[bytes]:
    # What the caller's environment says to llama.cpp is not what was admitted.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_")}
    environment[KEY_VARIABLE] = str(folder() / "key")
    environment["LLAMA_CACHE"] = str(folder() / "cache")  # never made: the user's own models are not ours to list
    # Appended to, so that the log can be emptied while it is written.
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            [str(program), *COMMAND, "--models-preset", str(presets_file())],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env=environment,
            cwd=folder(),
            start_new_session=True,
        )
    finally:
        os.close(handle)


def _address_of(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens: the kernel chose the port, its log says which.

    Raises:
        NotReady: it ended, or is late.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        said = log.read_bytes()
        if found := LISTENING.search(said):
            return found[1].decode()
        if ended:
            last = said.decode(errors="replace").strip().splitlines()[-3:]
            raise _unusable(f"it ended with status {process.returncode}: {' / '.join(last)[:300]}")
        time.sleep(START_POLL_SECONDS)
    raise _unusable(f"it did not listen within {START_SECONDS:.0f} s")


def _value_of(arguments: list[str], option: str) -> str | None:
    return next((value for name, value in itertools.pairwise(arguments) if name == option), None)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _spare_the_disk() -> None:
    with contextlib.suppress(OSError):
        if log_file().stat().st_size > MOST_LOG_BYTES:
            os.truncate(log_file(), 0)


def _write_private(path: Path, text: str) -> None:
    """All or nothing, and never readable by others."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _unusable(why: str) -> NotReady:
    return NotReady(
        f"The engine llama_server cannot be used: {why}.",
        means="Nothing was loaded.",
        remedy=f"{BUILD} Its log is {log_file()}.",
        engine="llama_server",
    )
