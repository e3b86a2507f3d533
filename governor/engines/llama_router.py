"""The router process of llama-server: one for each state folder, started on demand, found again by everybody.

A router holds no model itself: it starts a process for each model and passes requests on. It has a process
session of its own, so that the end of the run that started it does not end it. Who and where it is stands in
a file beside its presets; under the lock of that folder (`llama_folder`) two processes at once start one. What it
is told is `llama_load`.
"""

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from governor.engines import llama_presets
from governor.engines.embedded_child import as_any_for_memory
from governor.engines.environment import child_environment
from governor.engines.llama_folder import (
    BINARY,
    folder,
    folder_unusable,
    key_file,
    log_file,
    presets_file,
    router_file,
    unusable,
    write_private,
)
from governor.engines.protocol import Watch, unwatched
from governor.engines.wire import ASK_SECONDS, Wire, WireError, time_left
from governor.processes import Identity, Life, end, identify, life

NAMED_BY = "HOTDESK_LLAMA_SERVER"
BUILD = "Build one with `tests/build_llama_server.sh DIR` and put DIR/bin on the PATH, or name it in " + NAMED_BY + "."
# llama.cpp reads the key from the file named here. On the command line it would hold for the router alone,
# which strips it from what it starts: the models' own ports would be open to every user of the machine.
KEY_VARIABLE = "LLAMA_ARG_API_KEY_FILE"
# What llama.cpp reads from its environment; with AIP_MODE it takes port and paths from the others of that kind.
READ_BY_LLAMA = ("LLAMA_", "AIP_")
LISTENING = re.compile(rb"listening on (http://127\.0\.0\.1:\d+)")
# A router is up in 0.03 s (measured); the rest is patience with a busy machine.
START_SECONDS = 20.0
START_POLL_SECONDS = 0.005
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

    @property
    def port(self) -> int:
        """Where it listens; what it writes stands in the router's log behind this number."""
        return int(self.address.rpartition(":")[2])


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
        if life(self.identity) is Life.DEAD:  # its pid may be somebody else's by now
            return living
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.identity.pid).children():
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    told = child.cmdline()
                    model, port = _value_of(told, "--alias"), _value_of(told, "--port")
                    if model and port and port.isdecimal():
                        living[model] = Child(identify(child.pid), f"http://127.0.0.1:{port}")
        return living

    def child(self, model: str) -> Child | None:
        """The process that holds `model`; None when there is none that lives."""
        return self.children().get(model)


def binary() -> Path | None:
    """The program: as HOTDESK_LLAMA_SERVER names it, else from the PATH; None when there is none."""
    found = shutil.which(os.environ.get(NAMED_BY) or BINARY)
    return Path(found).absolute() if found else None


def found() -> Router | None:
    """The router of this state folder as its file tells, if its process is not known to be dead. Asks nobody."""
    try:
        told = json.loads(router_file().read_text())
        router = Router(Identity(**told["identity"]), told["address"], key_file().read_text().strip())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if life(router.identity) is Life.DEAD else router


def ensure(deadline: float, watch: Watch = unwatched) -> Router:
    """A router that answers: the one that runs, else a new one. To be called under `locked`.

    Raises:
        NotReady: there is no llama-server, or it does not start. WireError: `deadline` (of the monotonic clock)
        came first. Whatever `watch` raises, which is called every tenth of a second while a router is asked.
    """
    router = found()
    if router is not None and _answers(router, deadline, watch):
        _spare_the_disk()
        return router
    program = binary()
    if program is None:
        raise unusable("there is no such program", BUILD)
    end_all()
    try:
        return _start(program, deadline)
    except OSError as error:
        raise folder_unusable(error) from error


def end_all() -> None:
    """End every router of this state folder and every process that one left behind."""
    router = found()
    ended = router is None or end(router.identity, grace_seconds=END_SECONDS)
    _started[:] = [process for process in _started if process.poll() is None]
    for orphan in ours():
        end(orphan, grace_seconds=END_SECONDS)
    if ended:  # else it still runs, and has to be found again
        with contextlib.suppress(OSError):
            router_file().unlink()


def ours() -> list[Identity]:
    """Every process of a router of this state folder, the router too, whoever its parent is by now.

    They are known by the key file that they were started with. A model's process ends by itself when its
    router is gone, but not before it has loaded.
    """
    return [identity for identity, _model in _all_of_ours()]


def of_model(model: str) -> list[Identity]:
    """Those of `ours` that hold or load `model`."""
    return [identity for identity, held in _all_of_ours() if held == model]


def _all_of_ours() -> list[tuple[Identity, str | None]]:
    """Each with the model that it holds, None for a router.

    A caller's environment may name the key as well; only the program itself listens on the loopback address.
    """
    key, me, mine = str(key_file()), os.getpid(), list[tuple[Identity, str | None]]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            told = process.cmdline()
            if process.pid == me or _value_of(told, "--host") != "127.0.0.1":
                continue
            if process.environ().get(KEY_VARIABLE) == key:
                mine.append((identify(process.pid), _value_of(told, "--alias")))
    return mine


def _answers(router: Router, deadline: float, watch: Watch) -> bool:
    """Raises WireError: the deadline came before it was asked often enough to be called silent."""
    for _ in range(TRIES):
        with contextlib.suppress(WireError):
            router.wire.watched("GET", "/models", seconds=min(ASK_SECONDS, time_left(deadline)), watch=watch)
            return True
    time_left(deadline)
    return False


def _start(program: Path, deadline: float) -> Router:
    """Raises OSError, NotReady, WireError."""
    llama_presets.empty(presets_file())
    write_private(key_file(), secrets.token_urlsafe(24) + "\n")
    log = log_file()
    with contextlib.suppress(FileNotFoundError):
        log.replace(log.with_suffix(".old"))
    try:
        process = _spawn(program, log)
    except OSError as error:
        raise unusable(f"{program} cannot be started: {error}", BUILD) from error
    _started.append(process)
    try:
        address = _address_of(process, log, deadline)
        router = Router(identify(process.pid), address, key_file().read_text().strip())
        write_private(router_file(), json.dumps({"identity": asdict(router.identity), "address": address}))
    except BaseException:
        process.kill()
        process.wait(END_SECONDS)
        raise
    return router


def _spawn(program: Path, log: Path) -> subprocess.Popen[bytes]:
    # What the caller's environment says to llama.cpp is not what was admitted.
    environment = {name: value for name, value in child_environment().items() if not name.startswith(READ_BY_LLAMA)}
    environment[KEY_VARIABLE] = str(key_file())
    environment["LLAMA_CACHE"] = str(folder() / "cache")  # never made: the user's own models are not ours to list
    # Appended to, so that the log can be emptied while it is written.
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        process = subprocess.Popen(
            [str(program), *COMMAND, "--models-preset", str(presets_file())],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=handle,
            env=environment,
            cwd=folder(),
            start_new_session=True,
        )
        as_any_for_memory(process.pid)  # what it starts inherits it
        return process
    finally:
        os.close(handle)


def _address_of(process: subprocess.Popen[bytes], log: Path, deadline: float) -> str:
    """Where it listens: the kernel chose the port, its log says which.

    Raises:
        NotReady: it ended, or is late. WireError: the deadline came first.
    """
    latest, see_log = time.monotonic() + START_SECONDS, f"See its log, {log}."
    while time.monotonic() < latest:
        ended = process.poll() is not None
        said = log.read_bytes()
        if found := LISTENING.search(said):
            return found[1].decode()
        if ended:
            last = said.decode(errors="replace").strip().splitlines()[-3:]
            why = f"it ended with status {process.returncode}: {' / '.join(last)[:300]}"
            raise unusable(why, f"{see_log} {BUILD}")
        time_left(deadline)
        time.sleep(START_POLL_SECONDS)
    raise unusable(f"it did not listen within {START_SECONDS:.0f} s", see_log)


def _value_of(arguments: list[str], option: str) -> str | None:
    return next((value for name, value in itertools.pairwise(arguments) if name == option), None)


def _spare_the_disk() -> None:
    with contextlib.suppress(OSError):
        if log_file().stat().st_size > MOST_LOG_BYTES:
            os.truncate(log_file(), 0)
