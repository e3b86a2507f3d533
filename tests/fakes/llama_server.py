"""A program that stands in for llama-server in router mode, for the faults that the real one cannot be made to show.

Run as `llama_server.py --models-preset FILE ...`. It reads the presets, lists, loads and unloads like the real
one; a model is a process that waits. Its faults stand in `faults.json` beside the presets, read at every request:

    end: text that it prints before it ends at once    silent: pid that answers the list with 500
    load: status to answer a load with                 said: lines of a model's log while it loads
    fail: a load ends with this status                  stay: loads do not end
    stale: lists that still say `loaded` after an end  deaf: unloads are answered and not done
    loaded: a load was made by somebody else just before    others: lines of other models while it loads
    late: seconds until a load, which was carried out, is answered
    data: what the list says in place of its models    told: keys that its sections say in place of what was told
"""

import configparser
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fakes.http_server import Exchange, FakeServer

CHILD = "import sys; sys.stdin.read()"
# What a model is told to listen on, as far as its command line goes: nobody does, least of all there.
PORT = 1


class Model:
    """One model of the presets and its process, if it runs."""

    def __init__(self, name: str, told: dict[str, str]) -> None:
        self.name, self.told = name, told
        self.process: subprocess.Popen[bytes] | None = None
        self.state, self.stale = "unloaded", 0

    def start(self, state: str) -> None:
        command = [sys.executable, "-S", "-c", CHILD, "--host", "127.0.0.1"]
        command += ["--port", str(PORT), "--alias", self.name]
        self.process, self.state = subprocess.Popen(command, stdin=subprocess.PIPE), state
        say([f"0.00.1 I srv load: spawning server instance with name={self.name} on port {PORT}"])

    def stop(self, stale: int) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.state, self.stale = "unloaded", stale

    def entry(self, told: dict[str, str]) -> dict[str, Any]:
        if self.process is not None and self.process.poll() is not None:
            self.state = "unloaded"
        shown = "loaded" if self.stale > 0 else self.state
        self.stale -= 1
        preset = "\n".join([f"[{self.name}]", *(f"{key} = {value}" for key, value in (self.told | told).items())])
        return {"id": self.name, "status": {"value": shown, "preset": preset}}


class FakeRouter(FakeServer):
    """The router: what it answers, faults included."""

    def __init__(self, presets: Path) -> None:
        super().__init__()
        self._presets, self._models = presets, dict[str, Model]()
        self._read()

    def answer(self, exchange: Exchange) -> None:
        faults = faults_beside(self._presets)
        where, _, query = exchange.path.partition("?")
        if where == "/models":
            self._list(exchange, faults, reload="reload" in query)
        elif where == "/models/load":
            self._load(exchange, faults)
        elif where == "/models/unload":
            self._unload(exchange, faults)
        else:
            exchange.send_json(404, {"error": {"message": "no such page"}})

    def _read(self) -> None:
        parser = configparser.RawConfigParser()
        parser.read(self._presets)
        for name in parser.sections():
            if name not in self._models or self._models[name].state == "unloaded":
                self._models[name] = Model(name, dict(parser[name]))

    def _list(self, exchange: Exchange, faults: dict[str, Any], *, reload: bool) -> None:
        if faults.get("silent") == os.getpid():
            return exchange.send_json(500, {})
        if reload:
            self._read()
        listed = [model.entry(faults.get("told", {})) for model in self._models.values()]
        return exchange.send_json(200, {"data": faults.get("data", listed)})

    def _load(self, exchange: Exchange, faults: dict[str, Any]) -> None:
        model = self._models[exchange.body["model"]]
        if faults.get("loaded"):
            model.start("loaded")
        if "load" in faults:
            return exchange.send_json(faults["load"], {"error": {"message": "not now"}})
        model.start("loading" if faults.get("stay") else "loaded")
        say([*faults.get("others", ()), *(f"[{PORT}] {line}" for line in faults.get("said", ()))])
        if "fail" in faults:
            model.stop(0)
            say([f"0.00.1 I srv run: instance name={model.name} exited with status {faults['fail']}"])
        time.sleep(faults.get("late", 0.0))
        return exchange.send_json(200, {"success": True})

    def _unload(self, exchange: Exchange, faults: dict[str, Any]) -> None:
        model = self._models[exchange.body["model"]]
        if model.state == "unloaded":
            return exchange.send_json(400, {"error": {"message": "model is not running"}})
        if not faults.get("deaf"):
            say([f"0.00.1 I srv unload: stopping model instance name={model.name}"])
            model.stop(faults.get("stale", 0))
            say([f"0.00.1 I srv run: instance name={model.name} exited with status 1"])
            say([f"0.00.1 I srv run: instance name={model.name} exited with status 1"])
        return exchange.send_json(200, {"success": True})

    def end(self) -> None:
        """Nothing is left behind."""
        for model in self._models.values():
            if model.state != "unloaded":
                model.stop(0)


def faults_beside(presets: Path) -> dict[str, Any]:
    """What is wrong with it now."""
    told = presets.with_name("faults.json")
    return json.loads(told.read_text()) if told.exists() else {}


def say(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM."""
    presets = Path(arguments[arguments.index("--models-preset") + 1])
    faults = faults_beside(presets)
    if "end" in faults:
        sys.exit(faults["end"])
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with FakeRouter(presets) as router:
        say([f"0.00.1 I srv llama_server: listening on {router.address}"])
        over.wait()
        router.end()


if __name__ == "__main__":
    main(sys.argv[1:])
