"""Three ways to put a real host under pressure without putting it at risk, and the marks that each is judged by.

- `filling`: a program takes 1.5 GiB. The marks are set from what is available just before, since a host is not to be
  filled for a test; the readings are real. Always possible.
- `reclaiming`: a program in a group of 64 MiB reads a file of 256 MiB at random: every page comes from the disk again.
  The mark is on major faults, of which the defaults have none. Needs a group of its own, which takes root.
- `swapping`: a program in a group of 64 MiB writes to 320 MiB at random, beside a swap file of 512 MiB. The marks are
  the defaults. Needs root.

What a hog is kept in is `hog_ground`; the hog itself is `hog`.
"""

import json
import select
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from governor.memory import Ram
from governor.policy.pressure import Mark
from governor.policy.rules import DEFAULT_MARKS

FILL_MIB = 1536
# Of it, what has to be gone until the host is under pressure, and what until it is calm again.
HIGH_AFTER_MIB, LOW_AFTER_MIB = 1000.0, 700.0
GROUP_MIB, MAPPED_MIB, SWAPPED_MIB, SWAP_MIB = 64, 256, 320, 512
TOUCHERS = 6
# One reader that misses at every page makes thousands of them; a quiet host makes some tens.
FAULTS = Mark(reading="major_faults_per_s", high=300.0, low=100.0, memory="ram", persistence=3)
MADE_SECONDS, FULL_SECONDS, END_SECONDS = 60.0, 60.0, 30.0


class NotPossible(Exception):
    """This way cannot be gone here, and why."""


@dataclass(frozen=True)
class Way:
    """A kind of pressure.

    Attributes:
        marks: what it is judged by, to be asked just before. ground: what `hog_ground` is told, none when empty.
        hog: what `hog` is told.
    """

    name: str
    marks: Callable[[], tuple[Mark, ...]]
    ground: Sequence[str]
    hog: Sequence[str]


def _from_now_on() -> tuple[Mark, ...]:
    available = Ram().free_mib()
    if available is None:
        raise NotPossible("this host does not say what is available")
    if available < FILL_MIB + 1024:
        raise NotPossible(f"only {available:.0f} MiB are available")
    high, low = available - HIGH_AFTER_MIB, available - LOW_AFTER_MIB
    return (Mark(reading="host_available_mib", high=high, low=low, rising_is_bad=False, memory="ram"),)


FILLING = Way("filling", _from_now_on, (), ("anonymous", "--mib", str(FILL_MIB)))
RECLAIMING = Way(
    "reclaiming",
    lambda: (FAULTS,),
    ("--group-mib", str(GROUP_MIB)),
    ("mapped", "--mib", str(MAPPED_MIB), "--touchers", str(TOUCHERS)),
)
SWAPPING = Way(
    "swapping",
    lambda: DEFAULT_MARKS,
    ("--group-mib", str(GROUP_MIB), "--swap-mib", str(SWAP_MIB)),
    ("anonymous", "--mib", str(SWAPPED_MIB), "--touchers", str(TOUCHERS)),
)
WAYS = (FILLING, RECLAIMING, SWAPPING)


@contextmanager
def ready(way: Way, folder: Path) -> Iterator[list[str]]:
    """What the hog needs is there inside the block; what `hogging` is to be given. Raises NotPossible."""
    told = [*way.hog, "--folder", str(folder)]
    with ExitStack() as stack:
        if way.ground:
            keeper = stack.enter_context(_process("hog_ground", [*way.ground, "--folder", str(folder)]))
            made = json.loads(_heard(keeper, MADE_SECONDS) or "{}")
            if not made or made["why"]:
                raise NotPossible(made.get("why") or "it could not be made")
            told += ["--group", made["group"]]
        yield told


@contextmanager
def hogging(told: Sequence[str]) -> Iterator[None]:
    """The hog is full, and at it, inside the block. Raises NotPossible."""
    with _process("hog", told) as hog:
        if _heard(hog, FULL_SECONDS) != "full":
            raise NotPossible(f"the hog did not get its memory (exit status {hog.poll()})")
        yield


@contextmanager
def _process(module: str, told: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """Ends when its input does. In a session of its own: a signal to all of ours is not its end."""
    command = [sys.executable, "-m", f"tests.benchmarks.{module}", *told]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _heard(process: subprocess.Popen[str], seconds: float) -> str:
    """Its next line; '' when it said none in time, or ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip() if select.select([process.stdout], [], [], seconds)[0] else ""
