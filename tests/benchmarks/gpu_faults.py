"""What engine processes did wrong, by llama-server's own log: no memory, aborts, layers on the CPU, sudden ends."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

OUT_OF_MEMORY = re.compile(rb"out of memory|failed to allocate|unable to allocate|cudaMalloc failed", re.IGNORECASE)
ABORTED = re.compile(rb"GGML_ASSERT|GGML_ABORT|ggml_abort|CUDA error|Segmentation fault", re.IGNORECASE)
LAYERS = re.compile(rb"offloaded (\d+)/(\d+) layers")
# The router's words; it says the same status for a process that it ended and for one that died.
STOPPING = re.compile(rb"stopping model instance name=(\S+)")
EXITED = re.compile(rb"instance name=(\S+) exited with status (-?\d+)")
MOST_KEPT, LONGEST_LINE = 5, 200


class EngineLog:
    """Reads the log as it grows, because the engine empties it when it is large; call `look` after every step."""

    def __init__(self, log: Path) -> None:
        self._log, self._read, self._rest = log, 0, b""
        self._stopping: set[bytes] = set()
        self.counts: Counter[str] = Counter({"oom": 0, "aborts": 0, "layers_on_the_cpu": 0, "ended_by_themselves": 0})
        self.told_to_end = self.loads_on_the_card = 0
        self.first: list[str] = []

    def look(self) -> None:
        """Everything that was written since the last look."""
        try:
            size = self._log.stat().st_size
            if size < self._read:
                self._read, self._rest = 0, b""
            with self._log.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return
        self._read += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._judge(line)

    def summary(self) -> dict[str, Any]:
        """All of it, for the report."""
        told = {"told_to_end": self.told_to_end, "loads_with_all_layers_on_the_card": self.loads_on_the_card}
        return dict(self.counts) | told | {"first": self.first}

    def _judge(self, line: bytes) -> None:
        if OUT_OF_MEMORY.search(line):
            self._count("oom", line)
        if ABORTED.search(line):
            self._count("aborts", line)
        if found := LAYERS.search(line):
            if found[1] == found[2]:
                self.loads_on_the_card += 1
            else:
                self._count("layers_on_the_cpu", line)
        if found := STOPPING.search(line):
            self._stopping.add(found[1])
        if found := EXITED.search(line):
            self._ended(found[1], line)

    def _ended(self, name: bytes, line: bytes) -> None:
        if name in self._stopping:
            self._stopping.discard(name)
            self.told_to_end += 1
        else:
            self._count("ended_by_themselves", line)

    def _count(self, what: str, line: bytes) -> None:
        self.counts[what] += 1
        if len(self.first) < MOST_KEPT:
            self.first.append(line.decode(errors="replace").strip()[:LONGEST_LINE])
