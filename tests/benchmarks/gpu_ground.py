"""The ground of the GPU benchmark: a state folder, random models, a card made small, a neighbour. All go at the end.

With `pretend` the card is a share of the host's memory and the models are small: the same steps and the same real
llama-server, on the CPU. It finds mistakes of the benchmark; its figures say nothing of a card.
"""

import contextlib
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from governor import memory
from governor.engines import engine, llama_router
from governor.looking import Sensors
from governor.policy.facts import ModelSpec, Reading
from governor.sensors.gpu import Card
from governor.sensors.host import Host
from governor.settings import MIB, home, prepare_home
from governor.state.sessions import database, remember, store
from tests.benchmarks.report import say
from tests.random_gguf import Shape, write_model

ENGINE, LINE = "llama_server", "gpu"
# Two of a 7B's shape, of which one fits at a time; a 3B, a 1B; and a small one with a large vocabulary, tied.
SHAPES = {
    "seven-a": Shape(32, 4096, 14_336, 32, 8, 32_000, 32_768),
    "seven-b": Shape(32, 4096, 14_336, 32, 8, 32_000, 32_768),
    "three": Shape(26, 3072, 8192, 24, 8, 32_000, 32_768),
    "one": Shape(22, 2048, 5632, 32, 4, 32_000, 32_768),
    "half": Shape(24, 1024, 2816, 16, 4, 128_000, 32_768, tied=True),
}
PRETEND_SHAPES = {
    "seven-a": Shape(16, 1024, 2816, 16, 4, 2000, 32_768),
    "seven-b": Shape(16, 1024, 2816, 16, 4, 2000, 32_768),
    "three": Shape(8, 1024, 2816, 16, 4, 2000, 32_768),
    "one": Shape(4, 768, 2048, 12, 4, 2000, 32_768),
    "half": Shape(2, 512, 1024, 8, 2, 16_000, 32_768, tied=True),
}
# What stands for the card of 6 GiB without one, and what the neighbour may take of it.
PRETEND_BUDGET_MIB, PRETEND_NEIGHBOUR_MIB = 900.0, 250
END_SECONDS = 20.0
MOST_LOG_BYTES = 12 * MIB


@dataclass
class Ground:
    """What the run stands on."""

    pretend: bool
    budget_mib: float
    models: Path
    ballast: dict[str, Any] = field(default_factory=dict)
    neighbour: subprocess.Popen[str] | None = None

    @property
    def memory(self) -> memory.Memory:
        """The memory that models come into."""
        return memory.memory("ram" if self.pretend else "vram")

    def weights(self, model: str) -> Path:
        """Its file."""
        return self.models / f"{model}.gguf"

    def spec(self, model: str, context_tokens: int, least_context_tokens: int = 0) -> ModelSpec:
        """The model as the desk would ask for it. The profile's guess is never needed: every file has a header."""
        return ModelSpec(
            engine=ENGINE,
            model=model,
            source=f"{model}.gguf",
            line=LINE,
            context_tokens=context_tokens,
            least_context_tokens=least_context_tokens,
            gpu_layers=0 if self.pretend else -1,
            threads=2 if self.pretend else 4,
            parameters_billion=1.0,
            expected_mib=self.budget_mib,
        )


class PretendCard(memory.Ram):
    """A share of the host's memory that stands for a card: what llama-server and the neighbour hold of it is gone."""

    budget_mib = PRETEND_BUDGET_MIB
    neighbour_pid: int | None = None

    def free_mib(self) -> float | None:
        """The budget less what is held of it."""
        router, pids = llama_router.found(), [self.neighbour_pid] if self.neighbour_pid else []
        with contextlib.suppress(psutil.Error):
            pids += [child.pid for child in psutil.Process(router.identity.pid).children()] if router else []
        return max(0.0, self.budget_mib - (self.held_mib(pids) or 0.0))

    def total_mib(self) -> float | None:
        """The budget."""
        return self.budget_mib


def pretend_here(budget_mib: float, neighbour_pid: int | None) -> None:
    """The pretended card in another process of the run."""
    PretendCard.budget_mib, PretendCard.neighbour_pid = budget_mib, neighbour_pid
    memory.MEMORIES["ram"] = PretendCard


def pretended_sensors() -> Sensors:
    """Real ones, but what is available of the host is what is free of the pretended card."""
    return Sensors(host=Host(memory=_pretended_memory))


def _pretended_memory() -> list[Reading]:
    free_mib = PretendCard().free_mib()
    why = "" if free_mib is not None else "nobody can say"
    return [Reading(name="host_available_mib", value=free_mib, unit="MiB", why=why)]


@contextlib.contextmanager
def ground(
    *,
    pretend: bool,
    budget_mib: float,
    models: Path | None,
    seed: int,
    shapes: Mapping[str, Shape] | None = None,
    neighbour: Sequence[str] = (),
) -> Iterator[Ground]:
    """Everything in place, the neighbour waiting for its first word.

    Args:
        shapes: of the models, in place of the five above. neighbour: another one than `neighbour`: its module here
            and its arguments.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hotdesk-benchmark-")))
        os.environ["HOTDESK_HOME"] = str(folder / "home")
        prepare_home(home())
        _log_to(home().logs / "benchmark.log")
        shapes = shapes or (PRETEND_SHAPES if pretend else SHAPES)
        where = _written(shapes, models or folder / "models", seed)
        home().weights.mkdir(exist_ok=True)
        for model in shapes:
            (home().weights / f"{model}.gguf").symlink_to(where / f"{model}.gguf")
        database()
        remember("memory_budget_mib", str(budget_mib))
        with (
            store().look()
        ):  # as at a desk: its connection stays, else every transaction is the last and empties the WAL
            pass
        if pretend:
            pretend_here(budget_mib, None)
        here = Ground(pretend, budget_mib, where)
        # The neighbour first: its own driver context is not part of the 6 GiB.
        who, *told = neighbour or ("neighbour", *_neighbour_arguments(pretend, seed))
        here.neighbour = stack.enter_context(process(who, told))
        assert here.neighbour.stdout is not None and here.neighbour.stdout.readline() == "ready\n"
        if pretend:
            PretendCard.neighbour_pid = here.neighbour.pid
        else:
            ballast = stack.enter_context(process("ballast", ["--leave-mib", str(round(budget_mib))]))
            assert ballast.stdout is not None
            here.ballast = json.loads(ballast.stdout.readline())
        say(f"ground: {here.ballast or 'no card, a pretended one'}, {here.memory.free_mib():.0f} MiB free")
        stack.callback(engine(ENGINE).close)
        yield here


def _written(shapes: Mapping[str, Shape], folder: Path, seed: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (model, shape) in enumerate(shapes.items()):
        path = folder / f"{model}.gguf"
        if not path.exists():
            write_model(path, shape, seed=seed + number)
            say(f"wrote {path.name}, {path.stat().st_size / 1e9:.2f} GB")
    return folder


def _neighbour_arguments(pretend: bool, seed: int) -> list[str]:
    return ["--seed", str(seed), *(("--pretend", "--most-mib", str(PRETEND_NEIGHBOUR_MIB)) if pretend else ())]


@contextlib.contextmanager
def process(name: str, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process of the module of that name here; its input's end is its own."""
    command = [sys.executable, "-m", f"tests.benchmarks.{name}", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            process.communicate(timeout=END_SECONDS)
        if process.poll() is None:
            process.kill()
            process.wait()


def _log_to(path: Path) -> None:
    """What the governor says of its loads and unloads, beside the engine's own log."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("hotdesk")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def logs() -> list[Path]:
    """What engine and governor wrote."""
    return sorted(path for path in home().logs.iterdir() if path.is_file())


def keep_logs(folder: Path | None) -> None:
    """Copy the ends of the logs there, before the ground goes; None: nobody wants them."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for log in logs():
        (folder / log.name).write_bytes(log.read_bytes()[-MOST_LOG_BYTES:])
        say(f"kept {log.name}")


def describe() -> dict[str, Any]:
    """What the figures were measured on."""
    card, program = Card(), llama_router.binary()
    said = subprocess.run([str(program), "--version"], capture_output=True, text=True) if program else None
    lines = (said.stderr + said.stdout).splitlines() if said else []
    return {
        "card": _named(card),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / MIB / 1024, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "llama_server": next((line for line in lines if line.startswith("version")), "unknown"),
        "load_average_at_start": [round(load, 2) for load in os.getloadavg()],
    }


def _named(card: Card) -> str | None:
    """Name and driver of the card; None without one."""
    if card.memory_mib() is None:
        return None
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    return f"{pynvml.nvmlDeviceGetName(handle)}, driver {pynvml.nvmlSystemGetDriverVersion()}"
