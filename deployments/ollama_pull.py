"""One model into Ollama, by Ollama itself: asked for, watched, bounded. Whether it is the right one is `model_pins`.

Facts of /api/pull (ollama's docs/api.md and server/download.go): its answer is a stream of JSON lines that goes on
while nothing comes, so only the bytes tell whether it goes on; a failure is a line with `error` under status 200; what
came is kept, and the next request goes on from there; each file is checked against its sha256 as it comes.
"""

import ipaddress
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from deployments.download import SAY_EVERY_PERCENT, Say
from governor.engines import ollama
from governor.errors import NotReady
from governor.events import log_event
from governor.settings import MIB

# Attempts that brought nothing, one after the other; any progress starts the count anew.
EMPTY_ATTEMPTS = 3
PAUSE_SECONDS = 2.0
# Beside the weights: their licence and template, and what else lives on that disk.
SPARE_DISK_MIB = 1024
# Where Ollama keeps models by itself: its user's own folder, and that of its service on Linux.
USUAL_FOLDERS = ("~/.ollama/models", "/usr/share/ollama/.ollama/models")
NO_SPACE = "no space left"
NOT_THERE = "file does not exist"


@dataclass(frozen=True)
class Bounds:
    """Seconds without a word (it is silent while it checks: 42 GB from a slow disk take five minutes), and without a
    byte.
    """

    silence_seconds: float = 600.0
    stall_seconds: float = 120.0


@dataclass
class Progress:
    """How far the files of one model are, by their digests; says it every tenth of the way."""

    name: str
    say: Say
    stall_seconds: float
    done: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    told_percent: int = 0
    moved_s: float = field(default_factory=time.monotonic)

    @property
    def bytes(self) -> int:
        """All that came."""
        return sum(self.done.values())

    def take(self, line: dict[str, Any]) -> None:
        """One line of the stream. Raises TimeoutError when nothing came for too long."""
        digest, done, total = str(line.get("digest")), line.get("completed"), line.get("total")
        before = self.bytes
        if isinstance(total, int) and total > 0:
            self.total[digest] = total
            self.done[digest] = min(total, done) if isinstance(done, int) else self.done.get(digest, 0)
        if self.bytes != before or not isinstance(total, int):
            self.moved_s = time.monotonic()
        elif time.monotonic() - self.moved_s > self.stall_seconds:
            raise TimeoutError
        self._tell()

    def _tell(self) -> None:
        whole = max(1, sum(self.total.values()))
        percent = self.bytes * 100 // whole
        if percent >= self.told_percent + SAY_EVERY_PERCENT:
            self.told_percent = percent
            self.say(f"{self.name}: {self.bytes // MIB} of {whole // MIB} MiB")


def pull(tag: str, say: Say, *, bounds: Bounds | None = None, pause: Callable[[float], None] = time.sleep) -> None:
    """Have Ollama fetch `tag`, going on where it stopped when the stream is cut.

    Raises:
        NotReady: nothing comes any more, or Ollama says why it cannot; what came is kept by Ollama.
    """
    bounds = bounds or Bounds()
    empty, most, problem = 0, 0, ""
    while empty < EMPTY_ATTEMPTS:
        progress = Progress(tag, say, bounds.stall_seconds)
        problem = _attempt(tag, progress, bounds)
        if not problem:
            return
        log_event("pull_cut", model=tag, have=progress.bytes, why=problem)
        empty = 0 if progress.bytes > most else empty + 1
        most = max(most, progress.bytes)
        pause(PAUSE_SECONDS)
    raise NotReady(
        f"Ollama does not get {tag}: {problem}.",
        means=f"{most // MIB} MiB came; Ollama keeps them and goes on from there.",
        remedy=f"Check the network, then run `hotdesk model pull {tag}` again.",
    )


def check_disk(name: str, size_bytes: int, folders: Iterable[Path] | None = None) -> None:
    """Whether the weights have room where Ollama on this machine keeps them; unknown where that is: no objection.

    Raises:
        NotReady: they have not.
    """
    free = {}
    for folder in _folders() if folders is None else folders:
        try:
            free[folder] = shutil.disk_usage(folder).free // MIB
        except OSError:  # not there, or not to be looked at
            continue
    roomiest = max(free, key=lambda folder: free[folder], default=None)
    needed_mib = size_bytes // MIB + SPARE_DISK_MIB
    if roomiest is not None and free[roomiest] < needed_mib:
        raise NotReady(
            f"Only {free[roomiest]} MiB are free where Ollama keeps its models ({roomiest});"
            f" {name} needs {needed_mib} MiB.",
            means="Nothing was fetched.",
            remedy="Free some space (`ollama list`, `ollama rm`), or start Ollama with OLLAMA_MODELS on a larger disk.",
        )


def _folders() -> list[Path]:
    """Where this machine's Ollama may keep models; none when it runs elsewhere."""
    host = urlsplit(ollama.address()).hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    if not here:
        return []
    named = os.environ.get("OLLAMA_MODELS", "").strip()
    return [Path(named).expanduser()] if named else [Path(folder).expanduser() for folder in USUAL_FOLDERS]


def _attempt(tag: str, progress: Progress, bounds: Bounds) -> str:
    """One request; '' when it came to its end, else what ended it early."""
    patience = httpx.Timeout(bounds.silence_seconds, connect=5.0)
    try:
        with (
            httpx.Client(timeout=patience, trust_env=False) as client,  # never through a proxy
            client.stream("POST", f"{ollama.address()}/api/pull", json={"model": tag, "stream": True}) as answer,
        ):
            return _follow(tag, answer, progress)
    except httpx.TimeoutException:
        return f"it said nothing for {bounds.silence_seconds:.0f} s"
    except TimeoutError:
        return f"nothing came for {bounds.stall_seconds:.0f} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"the connection to Ollama broke off ({type(error).__name__})"


def _follow(tag: str, answer: httpx.Response, progress: Progress) -> str:
    for text in answer.iter_lines():
        try:
            line = json.loads(text) if text.strip() else {}
        except ValueError:
            return f"it does not speak as Ollama does: {text[:80]!r}"
        if not isinstance(line, dict):
            return f"it does not speak as Ollama does: {text[:80]!r}"
        if "error" in line:
            raise _refused(tag, str(line["error"])[:300])
        if line.get("status") == "success":
            return ""
        progress.take(line)
    return "the stream ended early" if answer.is_success else f"it answered {answer.status_code}"


def _refused(tag: str, why: str) -> NotReady:
    """What an error of Ollama's own means to a person."""
    remedy = f"Run `hotdesk model pull {tag}` again; if it says the same twice, see Ollama's own log."
    if NO_SPACE in why:
        remedy = "Free some space (`ollama list`, `ollama rm`), or start Ollama with OLLAMA_MODELS on a larger disk."
    elif NOT_THERE in why:
        remedy = f"Ollama's library has no {tag} any more: `hotdesk model list` shows what else would do."
    return NotReady(
        f"Ollama could not pull {tag}: {why.rstrip('.')}.",
        means="The model is not there; what came of it is kept by Ollama.",
        remedy=remedy,
    )
