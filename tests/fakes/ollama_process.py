"""A FAKE of Ollama's process and of its runner: two Python processes with their names and command lines."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A process that is called ollama and has a child with the command line of a runner.
PARENT = """
import subprocess, sys
runner = [sys.executable, "-S", "-c", "input()", "--model", "/blobs/" + sys.stdin.readline().strip()]
child = subprocess.Popen(runner, stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
child.stdin.close()
child.wait()
"""


@contextmanager
def ollama_process(folder: Path, blob: str) -> Iterator[tuple[int, int]]:
    """A FAKE of Ollama's process and of its runner; gives their pids."""
    name = folder / "ollama"
    if not name.exists():
        name.symlink_to(Path(sys.executable).resolve())
    command = [str(name), "-S", "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None and parent.stdout is not None
        parent.stdin.write(blob + "\n")
        parent.stdin.flush()
        yield parent.pid, int(parent.stdout.readline())
        parent.stdin.close()
