"""The server's garbage is collected in a thread of its own: a cursor's end must not stop the thread that answers."""

import subprocess
import sys

WHO_COLLECTS = """
import threading, time
from deployments.server_process import collect_elsewhere

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        found.add(threading.current_thread().name)

found = set()
{before}
deadline = time.monotonic() + 20
while not found and time.monotonic() < deadline:
    [Cycle() for _ in range(5000)]  # seven times what lets Python collect by itself
print(sorted(found))
"""


def collectors(before: str) -> str:
    code = WHO_COLLECTS.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_garbage_in_cycles_is_collected_by_the_collector_alone():
    assert collectors("collect_elsewhere()") == "['collector']"
    assert collectors("") == "['MainThread']"  # what Python does by itself, so the test can see the difference
