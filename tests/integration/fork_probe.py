"""What a forked child does in the tests of the fork server: it says how it was born, instead of running a flow.

Preloaded by a real fork server (HOTDESK_PRELOAD), which forks, lets go and ends as ever: only the flow itself is
replaced, by a FAKE that needs no Prefect server. What it is to do stands in its environment.
"""

import ctypes
import gc
import json
import os
import random
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any

from deployments.forking import alone, child

PROBE, SAYS, WAITS = "HOTDESK_PROBE", "HOTDESK_PROBE_SAYS", "HOTDESK_PROBE_WAITS"
LOCK_SECONDS = 0.5
OURS = ("governor", "blocks", "flows", "deployments")


def _probe(run: uuid.UUID, flow: Any) -> int:
    """In the place of the flow."""
    action, _, argument = os.environ[PROBE].partition(":")
    return ACTIONS[action](argument)


def _look(_argument: str) -> int:
    _write(Path(os.environ[SAYS]), cheap())
    return 0


def _look_well(_argument: str) -> int:
    _write(Path(os.environ[SAYS]), {**cheap(), **thorough()})
    return 0


def _spoil(_argument: str) -> int:
    """Make one of everything that a child must not be born with; then look."""
    import _imp
    import asyncio
    import logging
    import socket
    import sqlite3

    import httpx

    from governor.profile import current_profile

    kept = [socket.socket(), _connected(httpx), sqlite3.connect(":memory:"), random.Random(), threading.Lock()]
    kept[-1].acquire()
    asyncio.set_event_loop(asyncio.new_event_loop())
    current_profile()
    Path("/proc/self/oom_score_adj").write_text("301")
    holds, over = threading.Event(), threading.Event()

    def hold() -> None:
        with logging._lock:  # type: ignore[attr-defined]
            holds.set()
            over.wait()

    found = thorough()  # imports what it needs, so before the locks are taken
    other = threading.Thread(target=hold, name="other")
    other.start()
    holds.wait()
    _imp.acquire_lock()
    found |= cheap()
    _imp.release_lock()
    over.set()
    other.join()
    _write(Path(os.environ[SAYS]), found)
    return 0


def _connected(httpx: Any) -> tuple[Any, Any]:
    """A client that has had an answer and keeps the connection, and the other end of it."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    ends: list[socket.socket] = []

    def answer() -> None:
        ends.append(listener.accept()[0])
        ends[0].sendall(b"HTTP/1.1 204 Nothing\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    client = httpx.Client(trust_env=False)
    client.get(f"http://127.0.0.1:{listener.getsockname()[1]}")
    thread.join()
    return client, ends


def _exit(argument: str) -> int:
    raise SystemExit(int(argument) if argument.lstrip("-").isdigit() else argument or None)


def _die(argument: str) -> int:
    os.kill(os.getpid(), int(argument))
    return 99


def _wait(argument: str) -> int:
    """Say that it is there, wait for a word, exit with it."""
    _say(f"here {os.getpid()}")
    with open(os.environ[WAITS], "rb", buffering=0) as waits:  # noqa: PTH123 - a pipe
        return int(waits.read(1))


def _fail(_argument: str) -> int:
    raise LookupError("no such thing")


ACTIONS: dict[str, Callable[[str], int]] = {
    "look": _look,
    "look-well": _look_well,
    "spoil": _spoil,
    "exit": _exit,
    "die": _die,
    "wait": _wait,
    "fail": _fail,
}


def _watch(run: uuid.UUID, worker: Any) -> None:
    """In the place of `alone._watch`: that the kernel told is all that is asked."""
    _say(f"alone {run}")


def _say(text: str) -> None:
    with open(os.environ[SAYS], "w") as says:  # noqa: PTH123 - a pipe
        says.write(f"{text}\n")


def _write(path: Path, found: dict[str, Any]) -> None:
    path.with_suffix(".new").write_text(json.dumps(found))
    path.with_suffix(".new").rename(path)


def cheap() -> dict[str, Any]:
    """What costs next to nothing to look at: in every child."""
    import _imp
    import asyncio
    import logging

    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "session": os.getsid(0),
        "descriptors": _descriptors(),
        "threads": [thread.name for thread in threading.enumerate()],
        "tasks": len(os.listdir("/proc/self/task")),  # noqa: PTH208
        "running_loop": repr(asyncio._get_running_loop()),
        "loop_set": "_loop" in vars(asyncio.get_event_loop_policy()._local),  # type: ignore[attr-defined]
        "import_lock": _imp.lock_held(),
        "logging": [name for name, lock in _logging_locks(logging) if not _free(lock)],
        "random": random.random(),
        "uuid": str(uuid.uuid4()),
        "numpy": "numpy" in sys.modules and str(sys.modules["numpy"].random.random()),
        "signals": {sign.name: str(signal.getsignal(sign)) for sign in (signal.SIGTERM, signal.SIGINT)},
        "alone_by": _death_signal() == alone.TOLD_BY and callable(signal.getsignal(alone.TOLD_BY)),
        "memory_score": int(Path("/proc/self/oom_score_adj").read_text()),
        "folder": str(Path.cwd()),
        "env": dict(os.environ),
        "caches": filled_caches(),
        "caches_of_server": AT_PRELOAD,
        "home": _home(),
    }


def _home() -> str:
    from governor.settings import home

    return str(home().root)


def _descriptors() -> dict[str, str]:
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[entry.name] = str(entry.readlink())
        except OSError:  # the one that listed them
            continue
    return found


def _logging_locks(logging: Any) -> Iterator[tuple[str, Any]]:
    yield "logging", logging._lock
    for reference in logging._handlerList:
        if (handler := reference()) is not None and handler.lock is not None:
            yield repr(handler), handler.lock


def _free(lock: Any) -> bool:
    """Whether another thread gets it; an RLock is always free for its own."""
    got: list[bool] = []

    def take() -> None:
        got.append(lock.acquire(timeout=LOCK_SECONDS))
        if got[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return got[0]


def _death_signal() -> int:
    """PR_GET_PDEATHSIG of prctl(2)."""
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
    return number.value


def filled_caches() -> list[str]:
    """Caches of our modules that are not empty."""
    return sorted(_filled())


def _filled() -> Iterator[str]:
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in OURS:
            continue
        for attribute, value in list(vars(module).items()):
            where = f"{name}.{attribute}"
            if isinstance(value, _lru_cache_wrapper):
                if value.cache_info().currsize and value.__module__ == name:
                    yield where
            elif attribute.startswith("_") and not attribute.startswith("__") and _is_filled(value):
                yield where


def _is_filled(value: Any) -> bool:
    """Whether it is a container that can grow and holds something; constants of ours are written in capitals."""
    return isinstance(value, (dict, list, set)) and bool(value)


def thorough() -> dict[str, Any]:
    """What takes a look at every object there is."""
    import asyncio
    import sqlite3

    import httpx
    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import Pool

    gc.unfreeze()  # else what was preloaded is not among them
    objects = gc.get_objects()
    main = threading.main_thread()
    allowed = {id(main._tstate_lock)}  # type: ignore[attr-defined]
    kinds = {type(threading.Lock()), type(threading.RLock())}
    return {
        "objects": len(objects),
        "locks": [repr(it) for it in objects if type(it) in kinds and _is_locked(it) and id(it) not in allowed],
        "loops": [repr(it) for it in objects if isinstance(it, asyncio.AbstractEventLoop)],
        "clients": [
            repr(it) for it in objects if isinstance(it, (httpx.Client, httpx.AsyncClient)) and _is_connected(it)
        ],
        "databases": [repr(it) for it in objects if isinstance(it, (sqlite3.Connection, Engine, Pool))],
        "generators": [repr(it) for it in objects if _is_generator(it)],
        "sockets": [repr(it) for it in objects if _is_open_socket(it)],
    }


def _is_connected(client: Any) -> bool:
    """Clients that were only made share nothing: litellm makes some as it is imported, each with no session yet."""
    pool, session = (getattr(client._transport, name, None) for name in ("_pool", "client"))
    return bool(getattr(pool, "connections", ())) or (session is not None and not callable(session))


def _is_generator(it: Any) -> bool:
    """Random numbers that two children would share; those that aiohttp masks its websockets with hide nothing."""
    if type(it) is not random.Random or it is random._inst:  # type: ignore[attr-defined]
        return False
    return not any(isinstance(holder, dict) and "use_mask" in holder for holder in gc.get_referrers(it))


def _is_locked(lock: Any) -> bool:
    return repr(lock).startswith("<locked ")


def _is_open_socket(it: Any) -> bool:
    import socket

    return isinstance(it, socket.socket) and it.fileno() != -1


child._run_flow, alone._watch = _probe, _watch
AT_PRELOAD = filled_caches()  # after all of the fleet's own files
