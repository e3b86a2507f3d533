"""A memory hog: fills some memory and goes on touching it, at random, until its input ends. It asks nobody.

    python -m tests.benchmarks.hog anonymous --mib 320 --group /sys/fs/cgroup/memory/GROUP

`anonymous` is memory of its own, which a group with a smaller limit swaps; `mapped` is a file, which such a group reads
again and again. It cannot take more than 2 GiB (RLIMIT_AS, the interpreter included), is in the group before it takes
anything, is the first that the kernel would end, and ends by itself after three minutes.
"""

import argparse
import contextlib
import mmap
import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from governor.settings import MIB

MOST_MIB = 2048
SECONDS = 180.0
# Between two questions whether it is over.
TOUCHES = 200


def main() -> None:
    """Fill it, say `full`, touch it until the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hog", description=__doc__)
    parser.add_argument("way", choices=["anonymous", "mapped"])
    parser.add_argument("--mib", type=int, required=True)
    parser.add_argument("--group", type=Path, help="folder of a group of the memory controller")
    parser.add_argument("--folder", type=Path, default=Path("/tmp"), help="of the file")
    parser.add_argument("--touchers", type=int, default=1, help="processes that touch it")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MIB * MIB, MOST_MIB * MIB))
    Path("/proc/self/oom_score_adj").write_text("1000")
    if options.group is not None:
        (options.group / "cgroup.procs").write_text(str(os.getpid()))
    memory = _anonymous(options.mib) if options.way == "anonymous" else _mapped(options.mib, options.folder)
    print("full", flush=True)
    ends_s = time.monotonic() + SECONDS
    children = [child for _ in range(options.touchers) if (child := _touch_in_child(memory, ends_s))]
    threading.Timer(SECONDS, os._exit, [1]).start()
    sys.stdin.read()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    os._exit(0)


def _anonymous(mib: int) -> mmap.mmap:
    memory = mmap.mmap(-1, mib * MIB)
    for at in range(0, len(memory), mmap.PAGESIZE):
        memory[at] = 1
    return memory


def _mapped(mib: int, folder: Path) -> mmap.mmap:
    """A file that has no name any more, so that it goes with this process."""
    with tempfile.TemporaryFile(dir=folder) as file:
        piece = os.urandom(MIB)
        for _ in range(mib):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
        memory = mmap.mmap(file.fileno(), mib * MIB, prot=mmap.PROT_READ)
    memory.madvise(mmap.MADV_RANDOM)
    return memory


def _touch_in_child(memory: mmap.mmap, ends_s: float) -> int:
    """A process that touches the same memory; it does not outlive this one."""
    parent = os.getpid()
    if child := os.fork():
        return child
    dice, pages, writes = random.Random(os.getpid()), len(memory) // mmap.PAGESIZE, True
    while os.getppid() == parent and time.monotonic() < ends_s:
        for _ in range(TOUCHES):
            at = dice.randrange(pages) * mmap.PAGESIZE
            try:
                if writes:
                    memory[at] = 2
                else:
                    memory[at]
            except TypeError:  # a file that is only read
                writes = False
    os._exit(0)


if __name__ == "__main__":
    main()
