"""Makes what a memory hog is kept in: a group with a small limit, and a swap file. Both go when the input ends.

    python -m tests.benchmarks.hog_ground --group-mib 64 --swap-mib 512 --folder /tmp

A process in a session of its own, so that nothing is left behind even when whoever started it is killed. It says what
it made in a line of JSON: `group` and `swap`, and in `why` what could not be made and why not. Both need root.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from governor.settings import MIB

CGROUPS = Path("/sys/fs/cgroup")
# Of the memory controller: cgroup v1 where it is mounted, else v2. The limit, and what lets it swap all it has.
V1, V2 = (CGROUPS / "memory", "memory.limit_in_bytes", "memory.swappiness", "100"), (CGROUPS, "memory.max", "", "")
# A hog that ends is gone within this; its pages go with it.
EMPTY_SECONDS, POLL_SECONDS = 20.0, 0.05
COMMAND_SECONDS = 60.0


def main() -> None:
    """Make them, say so, wait for the end of the input, take them down."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.hog_ground", description=__doc__)
    parser.add_argument("--group-mib", type=int, default=0, help="0: none")
    parser.add_argument("--swap-mib", type=int, default=0, help="0: none")
    parser.add_argument("--folder", type=Path, required=True, help="of the swap file")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        made: dict[str, str | None] = {"group": None, "swap": None, "why": ""}
        try:
            if options.group_mib:
                made["group"] = str(_group(options.group_mib, stack))
            if options.swap_mib:
                made["swap"] = str(_swap(options.folder, options.swap_mib, stack))
        except (OSError, subprocess.SubprocessError) as error:
            made["why"] = f"{type(error).__name__}: {error}"
        print(json.dumps(made), flush=True)
        sys.stdin.read()


def _group(limit_mib: int, stack: contextlib.ExitStack) -> Path:
    """Raises OSError: not allowed, or there is no memory controller."""
    root, limit, swappiness, most = V1 if V1[0].is_dir() else V2
    group = root / f"hotdesk-hog-{os.getpid()}"
    group.mkdir()
    stack.callback(_remove, group)
    # Not `write_text`: in a group without the controller that would try to make the file, and say so misleadingly.
    for name, value in ((limit, str(limit_mib * MIB)), (swappiness, most)):
        if name:
            with (group / name).open("r+") as file:
                file.write(value)
    return group


def _remove(group: Path) -> None:
    """Once nobody is in it."""
    ends_s = time.monotonic() + EMPTY_SECONDS
    while group.is_dir():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() >= ends_s:
                raise
            time.sleep(POLL_SECONDS)


def _swap(folder: Path, mib: int, stack: contextlib.ExitStack) -> Path:
    """Raises OSError, SubprocessError: not allowed, or not on this file system."""
    file = folder / f"hotdesk-hog-{os.getpid()}.swap"
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    stack.callback(file.unlink)
    try:
        os.posix_fallocate(handle, 0, mib * MIB)
    finally:
        os.close(handle)
    _run("mkswap", str(file))
    _run("swapon", str(file))
    stack.callback(_run, "swapoff", str(file))
    return file


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except subprocess.CalledProcessError as error:
        raise OSError(f"{command[0]}: {error.stderr.strip()}") from error


if __name__ == "__main__":
    main()
