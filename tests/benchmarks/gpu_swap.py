"""From one model to another: ours against killing one llama-server and starting the next, by turns in one run.

Both are measured from the moment that another model is wanted to the first token of it, with the first one loaded,
used once and idle, its weights in the page cache.
"""

import contextlib
import http.client
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from governor.engines import llama_router
from governor.errors import HotdeskError
from governor.settings import home
from tests.benchmarks.gpu_ground import Ground
from tests.benchmarks.gpu_use import Broken, ask
from tests.benchmarks.report import rounded, say
from tests.benchmarks.seats import evict_all, seat

CONTEXT_TOKENS = 2048
UP_SECONDS = 60.0
POLL_SECONDS = 0.002
FIRST_TOKENS = 4
LISTENING = re.compile(rb"listening on http://127\.0\.0\.1:(\d+)")


def swaps(ground: Ground, times: int) -> dict[str, Any]:
    """So many of each; failures are counted and told, not timed."""
    took: dict[str, list[float]] = {"ours": [], "raw": []}
    failed: list[str] = []
    ways: dict[str, Callable[[Ground], float]] = {"ours": _ours_s, "raw": _raw_s}
    for number in range(times):
        for name, way in ways.items():
            try:
                took[name].append(way(ground))
            except (HotdeskError, Broken, OSError, TimeoutError) as error:
                failed.append(f"{name}: {error}"[:300])
        say(f"swap {number + 1} of {times}: " + ", ".join(f"{n} {t[-1]:.3f} s" for n, t in took.items() if t))
    evict_all()
    return {name: _summary(seconds) for name, seconds in took.items()} | {"failed": failed}


def _summary(seconds: list[float]) -> dict[str, float | None]:
    if not seconds:
        return {"swaps": 0, "median_s": None, "fastest_s": None, "slowest_s": None}
    return {
        "swaps": len(seconds),
        "median_s": rounded(statistics.median(seconds), 3),
        "fastest_s": rounded(min(seconds), 3),
        "slowest_s": rounded(max(seconds), 3),
    }


def _ours_s(ground: Ground) -> float:
    """Admission evicts the first model, because both do not fit, and loads the second."""
    first, second = (ground.spec(model, CONTEXT_TOKENS) for model in ("seven-a", "seven-b"))
    with seat(first) as held:
        ask(held.loaded.address, held.loaded.api_key, first.model, tokens=FIRST_TOKENS)
    if ground.pretend:  # both would fit there
        evict_all()
    began_s = time.monotonic()
    with seat(second) as held:
        answer = ask(held.loaded.address, held.loaded.api_key, second.model, tokens=FIRST_TOKENS)
    evict_all()
    return answer.first_token_s - began_s


def _raw_s(ground: Ground) -> float:
    """SIGKILL, spawn, ask for its health, ask it: the least that anybody can do."""
    with contextlib.ExitStack() as stack:
        first, address = stack.enter_context(_server(ground, "seven-a"))
        _healthy(address)
        ask(address, None, "seven-a", tokens=FIRST_TOKENS)
        began_s = time.monotonic()
        first.kill()
        first.wait()
        _, address = stack.enter_context(_server(ground, "seven-b"))
        _healthy(address)
        return ask(address, None, "seven-b", tokens=FIRST_TOKENS).first_token_s - began_s


@contextlib.contextmanager
def _server(ground: Ground, model: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    log = home().logs / f"raw-{model}.log"
    command = [str(llama_router.binary()), "-m", str(ground.weights(model).resolve()), "--host", "127.0.0.1"]
    command += ["--port", "0", "-c", str(CONTEXT_TOKENS), "-np", "1", "--fit", "off", "--offline", "--no-ui"]
    command += ["-ngl", "0" if ground.pretend else "99", "--cache-ram", "0", "--no-repack"]
    command += ["-t", "2" if ground.pretend else "4"]
    with log.open("wb") as sink, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as one:
        try:
            yield one, f"http://127.0.0.1:{_port(log, one)}"
        finally:
            one.kill()


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := LISTENING.search(log.read_bytes()):
            return int(found[1])
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"a plain llama-server does not listen: {log.read_bytes()[-300:]!r}")


def _healthy(address: str) -> None:
    deadline, port = time.monotonic() + UP_SECONDS, int(address.rpartition(":")[2])
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except ConnectionRefusedError as error:
            raise Broken("the plain llama-server is gone") from error
        finally:
            connection.close()
        time.sleep(POLL_SECONDS)
    raise TimeoutError("a plain llama-server is not up in time")
