"""Agents of a benchmark, each a process (`seat_agent`), and what each of their runs came to."""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from governor.policy.facts import ModelSpec

# An agent that only leaves its model in memory comes once.
ONCE = ("--rest-seconds", "3600", "--seat-seconds", "0")
# The answer under way when it is told to end; who still waits in line then is ended.
END_SECONDS = 20.0
POLL_SECONDS = 0.1
FIGURES = re.compile(r"\d+")
# A run that came to nothing, and says why.
SKIPPED = ("left the line", "does not fit", "seat lost")


@dataclass
class Agents:
    """Those of one part of a run.

    Attributes:
        told: what every agent is told besides its own. runs: what their runs came to, as `seat_agent.Run` has it.
    """

    told: Sequence[str] = ()
    runs: list[dict[str, Any]] = field(default_factory=list)
    _readers: list[tuple[subprocess.Popen[str], threading.Thread]] = field(default_factory=list)

    def start(self, name: str, spec: ModelSpec, *told: str) -> None:
        """One more agent."""
        command = [sys.executable, "-m", "tests.benchmarks.seat_agent", "--agent", name]
        command += ["--spec", spec.model_dump_json(), *self.told, *told]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        reader = threading.Thread(target=self._read, args=(process,))
        reader.start()
        self._readers.append((process, reader))

    def done(self, agent: str) -> bool:
        """Whether a run of that agent came to its end."""
        return any(run["agent"] == agent and run["outcome"] == "done" for run in self.runs)

    def wait_for(self, condition: Callable[[], bool], what: str, *, seconds: float) -> None:
        """Raises TimeoutError: the condition did not come true."""
        ends_s = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= ends_s:
                raise TimeoutError(f"{what} after {seconds:.0f} s: {self.summary()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Everybody ends after the answer under way; who waits in line is ended, and that run counts for nothing."""
        for process, _ in self._readers:
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        ends_s = time.monotonic() + END_SECONDS
        for process, reader in self._readers:
            reader.join(max(0.0, ends_s - time.monotonic()))
            if process.poll() is None:
                process.kill()

    def close(self) -> None:
        """Nobody is left."""
        for process, reader in self._readers:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join()

    def summary(self) -> dict[str, Any]:
        """What the runs came to, for the report."""
        again = sum(run["seats_lost"] > 0 and run["outcome"] == "done" for run in self.runs)
        return {
            "runs": len(self.runs),
            "outcomes": dict(Counter(run["outcome"] for run in self.runs)),
            "seats_lost": sum(run["seats_lost"] for run in self.runs),
            "done_after_a_lost_seat": again,
            "answers": sum(run["answers"] for run in self.runs),
            "tokens": sum(run["tokens"] for run in self.runs),
            "reasons": self._reasons(),
            "failures": [run for run in self.runs if run["outcome"] not in ("done", *SKIPPED)][:8],
        }

    def _reasons(self) -> list[str]:
        """One of each kind, whatever its figures are."""
        told = {FIGURES.sub("", run["why"]): run["why"][:300] for run in self.runs if run["outcome"] in SKIPPED}
        return sorted(told.values())[:8]

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.runs.append(json.loads(line))


@contextmanager
def agents(told: Sequence[str] = ()) -> Iterator[Agents]:
    """None of them is left at the end."""
    cast = Agents(told)
    try:
        yield cast
    finally:
        cast.close()
